package reactor

import (
	"context"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Most transfers find an idle ring and end inside io_uring_enter. They need no
// slot, no lock and no waker then, which saves half of what a transfer costs
// beside the system call. Everything else, from a short read to a completion
// that does not come at once, is enlisted: it gets the slot that was kept ready
// for it and goes on as if it had come the long way.

// expressCounts packs what went the short way: operations above packShift and
// bytes below, so that one atomic addition counts both.
type expressCounts struct{ reads, writes atomic.Uint64 }

const (
	packShift = 40      // bytes up to 1 TiB
	packFlush = 1 << 39 // bytes, and 2^23 operations, from which on they are moved to counts
)

// idle reports whether nothing but what the caller brings is to be done here.
// The caller owns the submission side.
func (d *driver) idle() bool {
	return !d.live.Load() && !d.work.Load() && !d.shut.Load()
}

// plain reports whether the operation is a transfer of one buffer without
// anything special.
func (op *Op) plain() bool {
	return (op.Code == OpRead || op.Code == OpWrite) && op.Timeout == 0 && op.Off >= AtPosition && len(op.Buf) <= maxTransfer
}

// express performs a plain operation if there is room and an idle ring for it.
func (f *File) express(ctx context.Context, op *Op) (n int, err error, done bool) {
	size := len(op.Buf)
	if !op.plain() {
		return 0, nil, false
	}
	r := f.r
	if !f.pin() {
		return 0, ErrClosed, true
	}
	t := current()
	if t != nil && t.follow.fits(op) {
		switch {
		case t.follow.resumes:
			f.drop()
			n, err = t.makeRest(ctx, op, f)
			return n, err, true
		case f.passOn.Load() && f.promises(op.Code).likely() && t.promise(op, f):
			return size, nil, true
		}
	}
	if !r.limits.roomy(size) {
		f.drop()
		return 0, nil, false
	}
	if t != nil {
		return t.express(ctx, op, f)
	}
	d := r.tryAcquire()
	var e *sqe
	if d != nil && d.idle() {
		e = d.q.next()
	}
	if e == nil {
		if d != nil {
			r.release(d)
		}
		f.drop()
		return 0, nil, false
	}
	if d.express(e, op, f) {
		r.release(d)
		return size, nil, true
	}
	ev := r.conclude(ctx, d, r.patience(op))
	if ev.Err != nil {
		err = f.opError(op, ev.Err)
	}
	return ev.N, err, true
}

// express performs a plain operation in entry e on an idle driver if it ends at
// once and in full. Otherwise it enlists it for d.own, and the caller goes on with
// drive. The caller owns the submission side; express locks mu if it reports false.
func (d *driver) express(e *sqe, op *Op, f *File) bool {
	s := d.spare
	s.gen++
	userData := s.userData()
	size := len(op.Buf)
	e.PrepOperation(uint8(op.Code), int32(op.FD), uint64(uintptr(unsafe.Pointer(unsafe.SliceData(op.Buf)))), uint32(size), uint64(op.Off))
	e.SetOpFlags(op.Flags)
	if op.Unprivileged {
		e.SetPersonality(d.user)
	}
	e.SetUserData(userData)
	n, _ := d.q.enter(0, 0)
	keepAlive(op)
	if n == 1 {
		c, ok := d.q.peek()
		if ok && c.userData == userData && int(c.res) == size {
			d.leave(op, f, size)
			return true
		}
		d.mu.Lock()
		d.enlistOwn(s, op, f)
		if ok {
			d.reaped++
			d.complete(c)
		}
		return false
	}
	d.mu.Lock()
	d.enlistOwn(s, op, f)
	d.filled = append(d.filled, userData) // drive enters again, and heeds the errno
	return false
}

// express is [File.express] on the ring of the task's executor, if the task has
// the thread to itself. It has pinned f, which it lets go if it does not perform
// the operation.
func (t *Task) express(ctx context.Context, op *Op, f *File) (n int, err error, done bool) {
	if !t.e.alone() {
		return t.join(ctx, op, f)
	}
	th := t.e.t
	var e *sqe
	if !f.r.closed.Load() {
		th.mu.Lock()
		if !th.shut.Load() && th.backlog.head == nil && len(th.cancels) == 0 {
			e = th.q.next()
		}
		if e == nil {
			th.mu.Unlock()
		}
	}
	if e == nil {
		f.drop()
		return 0, nil, false
	}
	t.e.serve(f.r)
	s := th.spare
	s.op, s.done, s.async, s.file = *op, 0, false, f
	th.send(s, e)
	th.mu.Unlock()
	taken, errno := th.q.enter(0, 0)
	th.mu.Lock()
	th.consume(taken)
	own, ended := th.reapUntil(s.userData())
	if ended && int(own.res) == len(op.Buf) {
		th.counts.add(packed(op.Code, OpRead, own.res), packed(op.Code, OpWrite, own.res))
		s.op, s.file = Op{}, nil
		th.unlockAndWake()
		if f.unpin() {
			unix.Close(f.fd)
		}
		return int(own.res), nil, true
	}
	c := t.newCall()
	c.slot = s
	th.enlist(s, op, f, c)
	if errno != 0 {
		th.mu.Unlock()
		th.failed(errno, 0) // what was not taken goes out with the next turn
		th.mu.Lock()
	}
	if ended {
		th.complete(own)
	}
	id, over := th.id(s), c.done
	c.parked = true
	th.unlockAndWake()
	if !over {
		c.wait(ctx, id, f.r.patience(op))
	}
	if c.ev.Err != nil {
		err = f.opError(op, c.ev.Err)
	}
	return c.ev.N, err, true
}

// join is express for a task that is not alone: the operation goes out with those
// of the others.
func (t *Task) join(ctx context.Context, op *Op, f *File) (n int, err error, done bool) {
	f.r.limits.charge(len(op.Buf))
	ev, err := f.r.doTask(ctx, t, op, f, nil)
	ev, err = f.outcome(op, ev, err)
	return ev.N, err, true
}

// reapUntil reaps up to the completion with that user data, which it returns if
// it is there. The caller holds mu.
func (d *driver) reapUntil(userData uint64) (own completion, ok bool) {
	for {
		c, ok := d.q.peek()
		if !ok {
			return completion{}, false
		}
		d.reaped++
		if c.userData == userData {
			return c, true
		}
		d.complete(c)
	}
}

// packed is what a transfer of n bytes adds to the half of [expressCounts] that
// counts operations of that kind.
func packed(code, kind Opcode, n int32) uint64 {
	if code != kind {
		return 0
	}
	return 1<<packShift + uint64(n)
}

// leave ends a transfer that went the short way. The caller owns the submission
// side.
func (d *driver) leave(op *Op, f *File, size int) {
	count := &d.expressed.reads
	if op.Code == OpWrite {
		count = &d.expressed.writes
	}
	if v := count.Add(1<<packShift + uint64(size)); v&(1<<packShift-1) >= packFlush || v>>(packShift+23) != 0 {
		d.mu.Lock()
		d.counts.add(d.expressed.reads.Swap(0), d.expressed.writes.Swap(0))
		d.mu.Unlock()
	}
	if f.unpin() {
		unix.Close(f.fd)
	}
}

// enlistOwn is enlist for d.own. The caller owns the submission side and holds mu.
func (d *driver) enlistOwn(s *slot, op *Op, f *File) {
	d.enlist(s, op, f, &d.own)
	d.own.slot, d.own.done = s, false
}

// enlist makes the operation that was submitted under the user data of the spare
// slot an ordinary one in flight. The caller holds mu.
func (d *driver) enlist(s *slot, op *Op, f *File, c *call) {
	d.spare = d.newSlot()
	d.occupy(s, op, c, f, nil, &f.r.inline)
	f.r.limits.charge(len(op.Buf))
	s.state = slotInFlight
	d.counts.submitted++
	if d.closing { // stopAll has not seen it
		d.counts.cancelled++
		s.end = endCancel
		d.cancelInKernel(s)
	}
}

// add counts what [expressCounts] packs.
func (c *counts) add(reads, writes uint64) {
	n := reads>>packShift + writes>>packShift
	c.submitted += n
	c.completed += n
	c.bytesRead += reads & (1<<packShift - 1)
	c.bytesWritten += writes & (1<<packShift - 1)
}
