package reactor

import (
	"unsafe"

	sys "github.com/iceber/iouring-go/syscall"
)

// follow is a command that goes to the kernel together with a read and is
// carried out right after it. Only touched on the executor's thread.
type follow struct {
	command *Command // nil: nothing follows
	file    int
	op      uint32
	buf     *byte
	fill    func(n int, area *[80]byte)
	sent    bool // the read is done and the kernel has the command
}

// Follow links c, as command number op for the registered file of that index, to
// the task's next read into the start of buf: when that has been filled whole
// the kernel goes on with the command, without coming back to us in between,
// which spares a system call. Just before, fill writes the command's area for a
// read of n bytes.
//
// It takes a read of a [File] with [File.PassOn]. Where there is none, or it
// comes short, the command is not sent: see Followed, which must be called
// before the task is over.
func (t *Task) Follow(c *Command, file int, op uint32, buf []byte, fill func(n int, area *[80]byte)) {
	t.follow = follow{command: c, file: file, op: op, buf: unsafe.SliceData(buf), fill: fill}
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

// fits reports whether op is the read that is waited for.
func (w *follow) fits(op *Op, f *File) bool {
	return w.command != nil && !w.sent && !w.command.linked && op.Code == OpRead && len(op.Buf) > 0 && unsafe.SliceData(op.Buf) == w.buf &&
		f != nil && f.passOn.Load() && f.whole()
}

// link puts the command behind the read of s in the submission queue, if there
// is room. The caller holds mu and has prepared the read in e.
func (d *driver) link(s *slot, e *sqe) {
	w := s.follow
	next := d.q.next()
	if next == nil {
		s.follow = nil
		return
	}
	e.SetFlags(sys.IOSQE_FLAGS_IO_LINK)
	w.command.linked = true
	w.command.prepare(next, w.file, w.op, 0, 0)
	w.fill(len(s.op.Buf), d.q.command(next))
}

// settleFollow notes the result of the read in s: only a whole one lets the
// command go on.
func (s *slot) settleFollow(res int32) {
	if int(res) == len(s.op.Buf) {
		s.follow.command.linked = false
		s.follow.sent = true
	} else {
		s.file.short.Store(shortReads)
	}
	s.follow = nil
}

// PassOn says that whoever reads the file hands the data on as it is, so that it
// may be sent before ReadAt returns; see [Task.Follow].
func (f *File) PassOn() { f.passOn.Store(true) }

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
