package reactor

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// File is an open descriptor under the care of a [Reactor]: its class was looked
// up once, and operations in flight pin it. Safe for concurrent use.
type File struct {
	r     *Reactor
	fd    int
	class Class

	// nonblock: O_NONBLOCK|O_DIRECT were set on a tmpfs file, whose I/O then
	// completes inline instead of in a kernel worker.
	nonblock atomic.Bool

	// rwFlags are RWF_* flags of every read and write.
	rwFlags atomic.Uint32

	unprivileged atomic.Bool // see SetUnprivileged

	passOn        atomic.Bool // see PassOn
	reads, writes promises

	// pins counts the operations in flight, plus one until Close, which sets
	// closedBit.
	pins atomic.Int64
	shut atomic.Bool // the descriptor is closed, or about to be
}

const closedBit = int64(1) << 62

// OpenFile opens a file as [os.OpenFile] does and puts it under the care of the
// reactor. Failures are *[os.PathError].
func (r *Reactor) OpenFile(name string, flag int, perm os.FileMode) (*File, error) {
	file, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	// A descriptor of our own, since an os.File closes its own.
	defer file.Close()
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return r.Open(fd)
}

// Open puts fd under the care of the reactor, which owns it from then on, also
// when Open fails. It must not be the descriptor of an [os.File], which closes it
// too: give Open a duplicate of that.
func (r *Reactor) Open(fd int) (*File, error) { return r.OpenClass(fd, ClassAuto) }

// OpenClass is Open for a descriptor whose class the caller knows better.
func (r *Reactor) OpenClass(fd int, class Class) (*File, error) {
	if r.closed.Load() {
		unix.Close(fd)
		return nil, ErrClosed
	}
	f := &File{r: r, fd: fd, class: class}
	f.pins.Store(1)
	found, magic := classify(fd)
	if class == ClassAuto {
		f.class = found
	}
	if magic == tmpfsMagic && f.class == ClassInline && isRegular(fd) {
		f.setNonblock(true)
	}
	return f, nil
}

// isRegular tells files from what else has a name on tmpfs or devtmpfs: FIFOs, of
// which O_DIRECT makes packets, and block devices, which it makes refuse what is
// not aligned.
func isRegular(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// setNonblock switches the flags that decide whether a tmpfs file is read and
// written inline. Kernels before 6.6 refuse O_DIRECT there, and nothing is lost.
func (f *File) setNonblock(on bool) {
	flags, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	if err != nil {
		return
	}
	const mode = unix.O_NONBLOCK | unix.O_DIRECT
	if on {
		flags |= mode
	} else {
		flags &^= mode
	}
	if _, err := unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, flags); err == nil {
		f.nonblock.Store(on)
	}
}

// Fd is the descriptor, valid until Close.
func (f *File) Fd() int { return f.fd }

// Class is how the file's backing takes I/O.
func (f *File) Class() Class { return f.class }

func (f *File) pin() bool {
	if f.pins.Add(1)&closedBit != 0 {
		f.drop()
		return false
	}
	return true
}

// unpin reports whether the descriptor is to be closed now.
func (f *File) unpin() bool { return f.pins.Add(-1) == closedBit && !f.shut.Swap(true) }

func (f *File) drop() error {
	if f.unpin() {
		return unix.Close(f.fd)
	}
	return nil
}

// Close closes the descriptor when the last operation on it has ended; Close
// does not wait for that. Further calls fail with ErrClosed.
func (f *File) Close() error {
	for {
		v := f.pins.Load()
		if v&closedBit != 0 {
			return ErrClosed
		}
		if f.pins.CompareAndSwap(v, v|closedBit) {
			return f.drop()
		}
	}
}

// closer closes a File whose last operation has ended, off the driver's mutex.
type closer File

// Wake closes the descriptor, which may hang (FLUSH) on a backing that blocks: then
// on another goroutine than that of the ring, which ends when the backing answers.
func (c *closer) Wake(Event) {
	if c.class == ClassInline {
		unix.Close(c.fd)
		return
	}
	go unix.Close(c.fd)
}

// ReadAt fills p from byte offset off, or from the file's own position if off
// is AtPosition, and returns the number of bytes read. At an offset it
// continues short transfers, so n < len(p) with a nil error means end of file;
// at the file's own position it returns what is there, as read(2) does.
// When ctx ends first the error wraps EINTR, or ETIMEDOUT for a deadline. p is
// the caller's again when ReadAt returns, but for a transfer that [Task.Follow]
// takes for done.
func (f *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	return f.transfer(ctx, &Op{Code: OpRead, FD: f.fd, Buf: p, Off: off})
}

// WriteAt writes p at byte offset off (at the end if the file has O_APPEND, at
// its own position if off is AtPosition). It continues short transfers, those
// into pipes and sockets too: n < len(p) only with an error. Otherwise as ReadAt.
func (f *File) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	return f.transfer(ctx, &Op{Code: OpWrite, FD: f.fd, Buf: p, Off: off})
}

// ReadvAt is ReadAt into several buffers, filled in turn; at most 1024.
func (f *File) ReadvAt(ctx context.Context, bufs [][]byte, off int64) (int, error) {
	return f.transfer(ctx, &Op{Code: OpReadv, FD: f.fd, Bufs: bufs, Off: off})
}

// WritevAt is WriteAt of several buffers, written in turn; at most 1024.
func (f *File) WritevAt(ctx context.Context, bufs [][]byte, off int64) (int, error) {
	return f.transfer(ctx, &Op{Code: OpWritev, FD: f.fd, Bufs: bufs, Off: off})
}

// SubmitRead starts a ReadAt and returns its future. p belongs to the reactor
// until the future is done.
func (f *File) SubmitRead(ctx context.Context, p []byte, off int64) (*Future, error) {
	return f.submit(ctx, Op{Code: OpRead, FD: f.fd, Buf: p, Off: off})
}

// SubmitWrite starts a WriteAt and returns its future. p must not change until
// the future is done.
func (f *File) SubmitWrite(ctx context.Context, p []byte, off int64) (*Future, error) {
	return f.submit(ctx, Op{Code: OpWrite, FD: f.fd, Buf: p, Off: off})
}

// SetUncached asks that ReadAt, WriteAt and their vectored kin leave nothing in
// the page cache of the backing (RWF_DONTCACHE, Linux 6.14). Where the backing
// has no such I/O the first operation finds out, and the file is read and
// written as usual.
func (f *File) SetUncached() { f.rwFlags.Store(rwfDontcache) }

// SetUnprivileged has writes and Fallocate made with the rights of an ordinary
// user, if the reactor is root's: quotas bind them, and space that is kept for
// root is not theirs. Only for files of [ClassInline]; others may have to know
// who writes.
func (f *File) SetUnprivileged() { f.unprivileged.Store(f.class == ClassInline) }

const rwfDontcache = 0x80 // RWF_DONTCACHE, which x/sys lacks

func (f *File) transfer(ctx context.Context, op *Op) (int, error) {
	op.Flags = f.rwFlags.Load()
	op.Unprivileged = op.writes() && f.unprivileged.Load()
	n, err := f.transferOnce(ctx, op)
	if op.Flags != 0 && n == 0 && errors.Is(err, syscall.EOPNOTSUPP) {
		f.rwFlags.Store(0)
		op.Flags = 0
		return f.transferOnce(ctx, op)
	}
	return n, err
}

func (f *File) transferOnce(ctx context.Context, op *Op) (int, error) {
	if !f.stages(op) {
		if n, err, done := f.express(ctx, op); done {
			return n, err
		}
		ev, err := f.do(ctx, op, nil)
		return ev.N, err
	}
	staged := *op
	buf := f.stage(&staged)
	ev, err := f.do(ctx, &staged, buf)
	op.unstage(ev)
	return ev.N, err
}

// stages reports whether the caller of op may have to be answered before the
// kernel is done with its buffer.
func (f *File) stages(op *Op) bool {
	return f.class == ClassBlocking || op.Timeout != 0 || f.r.cfg.Timeout != 0
}

// stage moves a read or write into a buffer of the reactor's own if it stages.
func (f *File) stage(op *Op) *buffer {
	if !f.stages(op) {
		return nil
	}
	buf := newBuffer(op.size())
	switch op.Code {
	case OpRead:
	case OpReadv:
		op.Code = OpRead
	case OpWrite:
		copy(buf.p, op.Buf)
	case OpWritev:
		op.Code = OpWrite
		rest := buf.p
		for _, b := range op.Bufs {
			rest = rest[copy(rest, b):]
		}
	default:
		buf.free()
		return nil
	}
	op.Buf, op.Bufs = buf.p, nil
	return buf
}

// unstage gives the caller of op what a staged read has read, and the buffer back.
func (op *Op) unstage(ev Event) {
	if ev.buf == nil {
		return
	}
	read := ev.buf.p[:ev.N]
	switch op.Code {
	case OpRead:
		copy(op.Buf, read)
	case OpReadv:
		for _, b := range op.Bufs {
			read = read[copy(b, read):]
		}
	}
	ev.buf.free()
}

// Fsync flushes the file to stable storage, with datasync only what is needed
// to read its data back.
func (f *File) Fsync(ctx context.Context, datasync bool) error {
	op := Op{Code: OpFsync, FD: f.fd}
	if datasync {
		op.Flags = FsyncData
	}
	_, err := f.do(ctx, &op, nil)
	return err
}

// Fallocate is fallocate(2): mode is FALLOC_FL_*, off and length are in bytes.
func (f *File) Fallocate(ctx context.Context, mode uint32, off, length int64) error {
	_, err := f.do(ctx, &Op{Code: OpFallocate, FD: f.fd, Off: off, Len: length, Flags: mode, Unprivileged: f.unprivileged.Load()}, nil)
	return err
}

func (f *File) do(ctx context.Context, op *Op, buf *buffer) (Event, error) {
	if errno := op.check(); errno != 0 {
		buf.free()
		return Event{}, f.opError(op, errno)
	}
	if !f.pin() {
		buf.free()
		return Event{}, ErrClosed
	}
	ev, err := f.r.do(ctx, op, f, buf)
	if err != nil {
		buf.free()
	}
	return f.outcome(op, ev, err)
}

// outcome is what the caller of op gets, for which f was pinned. With err it was
// not submitted.
func (f *File) outcome(op *Op, ev Event, err error) (Event, error) {
	if err != nil {
		if f.unpin() { // the caller may be a task, which must not wait for close(2)
			(*closer)(f).Wake(Event{})
		}
		return Event{}, f.opError(op, err)
	}
	if ev.Err != nil {
		return ev, f.opError(op, ev.Err)
	}
	return ev, nil
}

// submit starts op, whose descriptor is the file's, and returns its future.
func (f *File) submit(ctx context.Context, op Op) (*Future, error) {
	fut := newFuture(op)
	if !f.pin() {
		return nil, ErrClosed
	}
	buf := f.stage(&op)
	if err := fut.register(ctx, f.r, &op, f, buf); err != nil {
		f.drop()
		buf.free()
		return nil, f.opError(&op, err)
	}
	return fut, nil
}

func (f *File) opError(op *Op, err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		err = syscall.ETIMEDOUT
	case errors.Is(err, context.Canceled):
		err = syscall.EINTR
	}
	return newOpError(op, err)
}
