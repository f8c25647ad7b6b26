package reactor

import (
	"unsafe"

	sys "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// follow is a command that goes to the kernel together with a read or write and
// is carried out right after it. Only touched on the executor's thread.
type follow struct {
	command *Command // nil: nothing follows
	file    int
	op      uint32
	buf     *byte
	overlay int
	fill    func(n int, area *[80]byte)
	entry   *sqe // of the command, until the kernel has taken it
	sent    bool // the transfer is done and the kernel has the command
}

// Follow links c, as command number op for the registered file of that index, to
// the task's next read into the start of buf, or write from there: when all of it
// has been read or written the kernel goes on with the command, without coming
// back to us in between, which spares a system call. Just before, fill writes the
// command's area for a transfer of n bytes. With a write it may also put what the
// command takes along into the first overlay bytes of buf: what was to be written
// from there is kept aside, and is back if the command is not sent.
//
// It takes a transfer of a [File] with [File.PassOn]. Where there is none, or it
// comes short, the command is not sent: see Followed, which must be called
// before the task is over.
func (t *Task) Follow(c *Command, file int, op uint32, buf []byte, overlay int, fill func(n int, area *[80]byte)) {
	t.follow = follow{command: c, file: file, op: op, buf: unsafe.SliceData(buf), overlay: overlay, fill: fill}
}

// Followed withdraws what Follow has arranged and reports whether the command
// was sent. If not it may be submitted.
func (t *Task) Followed() bool {
	for t.follow.command.linked { // dropped, but its completion has not come
		t.Yield()
	}
	sent := t.follow.sent
	t.follow = follow{}
	return sent
}

// fits reports whether op is the transfer that is waited for.
func (w *follow) fits(op *Op, f *File) bool {
	if w.command == nil || w.sent || w.command.linked || f == nil || len(op.Buf) == 0 || unsafe.SliceData(op.Buf) != w.buf {
		return false
	}
	switch how := f.passOn.Load(); op.Code {
	case OpRead:
		return how&passReads != 0 && f.whole()
	case OpWrite:
		return how&passWrites != 0
	}
	return false
}

// follower is the entry for what follows the operation of s, or nil. The caller
// holds mu and has taken the entry of the operation just before.
func (d *driver) follower(s *slot) *sqe {
	if s.follow == nil {
		return nil
	}
	next := d.q.next()
	if next == nil {
		s.follow = nil
	}
	return next
}

// link puts the command behind the transfer of s, which e has. The caller holds
// mu.
func (d *driver) link(s *slot, e, next *sqe) {
	w := s.follow
	e.SetFlags(sys.IOSQE_FLAGS_IO_LINK)
	w.entry = next
	w.command.linked = true
	w.command.prepare(next, w.file, w.op, 0, 0)
	w.fill(len(s.op.Buf), d.q.command(next))
}

// unlink withdraws the command behind the transfer with that user data, if there
// is one: the kernel has taken the transfer alone, for want of memory, and the
// command would run as an entry of its own, whatever becomes of the transfer. In
// its place goes an entry that does nothing. The caller holds mu.
func (d *driver) unlink(userData uint64) {
	index := int(uint32(userData))
	if index >= len(d.slots) || d.slots[index].follow == nil {
		return
	}
	s := d.slots[index]
	s.follow.entry.Reset()
	s.follow.entry.PrepOperation(uint8(OpNop), -1, 0, 0, 0)
	s.follow.entry.SetUserData(s.follow.command.userData())
	s.putBack()
	s.follow = nil
}

// setAside has the write in s take its first bytes from a copy, for fill to put
// something in their place.
func (s *slot) setAside() {
	n := min(s.follow.overlay, len(s.op.Buf))
	s.aside = append(s.aside[:0], s.op.Buf[:n]...)
	s.iovs = appendIovecs(s.iovs[:0], [][]byte{s.aside, s.op.Buf[n:]}, 0)
}

// settleFollow notes the result of the transfer in s: only a whole one lets the
// command go on.
func (s *slot) settleFollow(res int32) {
	switch {
	case int(res) == len(s.op.Buf):
		s.follow.command.linked = false
		s.follow.sent = true
	case s.op.Code == OpRead:
		s.file.short.Store(shortReads)
	default:
		s.putBack()
	}
	s.follow = nil
}

// putBack undoes what fill has done to the data of the write in s.
func (s *slot) putBack() {
	if s.op.writes() {
		copy(s.op.Buf, s.aside)
	}
}

// PassOn says that whoever reads the file hands the data on as it is, and that
// whoever writes it has nothing to add, so that the answer may be sent before
// ReadAt or WriteAt returns; see [Task.Follow]. Writes of a file with O_DIRECT
// are not, as their data has to stay in one piece.
func (f *File) PassOn() {
	how := uint32(passReads)
	if flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0); err == nil && (flags&unix.O_DIRECT == 0 || f.nonblock.Load()) {
		how |= passWrites
	}
	f.passOn.Store(how)
}

// What may be passed on.
const (
	passReads = 1 << iota
	passWrites
)

// whole guesses whether the next read will not come short: the end of the file
// is where reads go on being short.
func (f *File) whole() bool {
	n := f.short.Load()
	if n == 0 {
		return true
	}
	f.short.Store(n - 1)
	return false
}

// shortReads is how many reads are not linked after one that came short.
const shortReads = 4
