package reactor

import (
	"context"
	"sync/atomic"

	sys "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// Most transfers of a server that answers requests with a [Command] find their
// data in the page cache. Such a one need not be waited for: it goes to the kernel
// together with the command that tells of it, as a promise that it ends in full
// within the very system call (RWF_NOWAIT). The task goes on as if it were over.
// When the promise is not kept nothing has been told, and the request is served
// again, without one. Either way its completion ends the wait of the thread's next
// enter, so that it is looked at before the thread sleeps.

// Following is a command behind a transfer; see [Task.Follow].
type Following struct {
	Command *Command
	File    int    // index of the registered file
	Op      uint32 // number of the command
	Buf     []byte // where the transfer reads to or writes from

	// Fill writes the command's area, for a transfer of n bytes. With a write
	// it may also put what the command takes along into the first Overlay
	// bytes of Buf: what was to be written from there is kept aside, and is
	// back if the command is not sent.
	Fill    func(n int, area *[80]byte)
	Overlay int

	// Dropped is told that the transfer did not end in full at once, and the
	// command was not sent, so that it may be submitted, once a task has made
	// the rest of the transfer; see [Task.Resume]. It is called like the
	// command's done, in place of that.
	Dropped func()
}

// follow is what a task has arranged, and what came of it.
type follow struct {
	*Following // nil: nothing
	promised   bool
	resumes    bool // one that was dropped
}

// Follow links the command of f to the task's next read into the start of f.Buf,
// or write from there: the kernel goes on from one to the other without coming
// back to us. ReadAt or WriteAt then returns as if all had been read or written,
// before the kernel has seen it: f.Buf is in use until f.Dropped or the command's
// done is called.
//
// It takes a transfer of a [File] with [File.PassOn]. Followed says whether there
// was one, and must be called before the task is over.
func (t *Task) Follow(f *Following) { t.follow = follow{Following: f} }

// Resume has the task's next transfer of f.Buf go on where the one that was dropped
// has ended: what it returns covers both.
func (t *Task) Resume(f *Following) { t.follow = follow{Following: f, resumes: true} }

// Followed withdraws what Follow or Resume has arranged and reports whether the
// command is on its way.
func (t *Task) Followed() bool {
	promised := t.follow.promised
	t.follow = follow{}
	return promised
}

// Finally calls fn when the transfer that the calling goroutine has made is over:
// at once, but for one that a task takes for done; see [Task.Follow]. nil is not
// called.
func Finally(fn func()) {
	if fn == nil {
		return
	}
	if t := current(); t != nil && t.follow.promised {
		d := t.e.t.driver
		c := t.follow.Command
		d.mu.Lock()
		if c.slot.state != slotFree {
			c.finally = append(c.finally, fn)
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
	}
	fn()
}

// fits reports whether op is the transfer that is waited for.
func (w *follow) fits(op *Op) bool {
	return w.Following != nil && !w.promised && op.Off >= 0 && len(op.Buf) > 0 && &op.Buf[0] == &w.Buf[0]
}

// makeRest makes what the transfer that was dropped has left of op.
func (t *Task) makeRest(ctx context.Context, op *Op, f *File) (int, error) {
	moved := t.follow.Command.moved
	t.follow = follow{}
	if moved == len(op.Buf) {
		return moved, nil
	}
	rest := *op
	rest.Buf = op.Buf[moved:]
	rest.Off += int64(moved)
	n, err := f.transferOnce(ctx, &rest)
	return moved + n, err
}

// promise puts op and the command behind it into the submission queue, if there is
// room, and takes op for done. f is pinned, until op is over.
func (t *Task) promise(op *Op, f *File) bool {
	th := t.e.t
	t.e.serve(f.r)
	th.mu.Lock()
	defer th.mu.Unlock()
	if th.shut.Load() || f.r.closed.Load() || !f.r.limits.tryAcquire(cost(len(op.Buf))) {
		return false
	}
	e := th.q.next()
	if e == nil {
		f.r.limits.release(len(op.Buf))
		return false
	}
	next := th.q.next()
	if next == nil { // e must be something now
		f.r.limits.release(len(op.Buf))
		e.PrepOperation(uint8(OpNop), -1, 0, 0, 0)
		e.SetUserData(cancelTag)
		th.filled = append(th.filled, cancelTag)
		return false
	}
	w := t.follow.Following
	s := w.Command.own()
	th.occupy(s, op, nil, f, nil, &f.r.inline)
	s.state = slotInFlight
	s.follow, s.severed = w, false
	if !f.nonblock.Load() { // else it ends at once as it is
		s.op.Flags |= unix.RWF_NOWAIT
	}
	th.send(s, e)
	e.SetFlags(sys.IOSQE_FLAGS_IO_LINK)
	w.Command.linked, w.Command.entry = true, next
	w.Command.prepare(next, w.File, w.Op, 0, 0)
	w.Fill(len(op.Buf), th.q.command(next))
	t.follow.promised = true
	return true
}

// own is the slot for the transfers that the command follows. The caller holds the
// driver's mutex.
func (c *Command) own() *slot {
	if c.slot == nil {
		c.slot = c.e.t.newSlot()
		c.slot.command = c
	}
	return c.slot
}

// setAside has the write in s take its first bytes from a copy, for Fill to put
// something in their place.
func (s *slot) setAside() {
	n := min(s.follow.Overlay, len(s.op.Buf))
	s.aside = append(s.aside[:0], s.op.Buf[:n]...)
	s.iovs = appendIovecs(s.iovs[:0], [][]byte{s.aside, s.op.Buf[n:]}, 0)
}

// sever withdraws the command behind the transfer with that user data, if there is
// one: the kernel has taken the transfer alone, for want of memory, and the
// command would run as an entry of its own, whatever becomes of the transfer. In
// its place goes an entry that does nothing. The caller holds mu.
func (d *driver) sever(userData uint64) {
	index := int(uint32(userData))
	if index >= len(d.slots) || d.slots[index].command == nil {
		return
	}
	c := d.slots[index].command
	c.slot.severed = true
	c.entry.Reset()
	c.entry.PrepOperation(uint8(OpNop), -1, 0, 0, 0)
	c.entry.SetUserData(c.userData())
}

// redeem ends a promised transfer with result res. The caller holds mu.
func (d *driver) redeem(s *slot, res int32) {
	c, f := s.command, s.file
	kept := int(res) == len(s.op.Buf) && !s.severed
	f.promises(s.op.Code).settle(kept)
	c.moved = max(int(res), 0)
	d.letGo(s, c.moved)
	switch {
	case kept:
		d.counts.submitted++
		d.counts.completed++
		c.linked = false
	case s.op.writes():
		copy(s.op.Buf, s.aside)
	}
	if res == -int32(unix.EOPNOTSUPP) && s.op.Flags == unix.RWF_NOWAIT {
		f.passOn.Store(false) // this backing never says that it would wait
	}
	s.op, s.file, s.state = Op{}, nil, slotFree
	d.inFlight--
	if !kept {
		c.drop()
	}
	if len(c.finally) > 0 {
		fns := c.finally
		c.finally = nil
		c.e.start(func(*Task) {
			for _, fn := range fns {
				fn()
			}
		})
	}
}

// drop has the server told, once the transfer and the command behind it are both
// over, that the command was not sent. The caller holds the driver's mutex.
func (c *Command) drop() {
	if !c.linked && c.slot.state == slotFree {
		c.e.arrived = append(c.e.arrived, arrival{command: c, dropped: true})
	}
}

// PassOn says that whoever reads the file hands the data on as it is, and that
// whoever writes it has nothing to add, so that the answer may be sent before
// ReadAt or WriteAt returns; see [Task.Follow]. Files with O_DIRECT, which make
// transfers wait for the device, are left out.
func (f *File) PassOn() {
	flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	f.passOn.Store(err == nil && (flags&unix.O_DIRECT == 0 || f.nonblock.Load()))
}

// promises tells which transfers of a file, of one direction, are likely to end in
// full at once: the end of the file is where reads go on being short, and there
// are backings where every write may wait.
type promises struct {
	broken atomic.Int32 // in a row
	wait   atomic.Int32 // transfers until the next one
}

// maxPromiseWait bounds how many transfers are made without a promise after one
// that was broken, as a power of 2.
const maxPromiseWait = 10

func (p *promises) likely() bool {
	n := p.wait.Load()
	if n == 0 {
		return true
	}
	p.wait.Store(n - 1)
	return false
}

func (p *promises) settle(kept bool) {
	if kept {
		if p.broken.Load() != 0 {
			p.broken.Store(0)
		}
		return
	}
	n := p.broken.Add(1)
	p.wait.Store(1<<min(n, maxPromiseWait) - 1)
}

func (f *File) promises(code Opcode) *promises {
	if code == OpWrite {
		return &f.writes
	}
	return &f.reads
}
