package fs

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

// directFile is a file that was opened with O_DIRECT (Options.BackingDirect).
// What the backing can take without its page cache goes that way; requests that
// do not begin and end at its blocks, which the plain file would refuse with
// EINVAL, go through a second descriptor without O_DIRECT.
//
// The backing keeps the two coherent when they come one after the other. At the
// same time on one page they are not, so they take turns by inode.
type directFile struct {
	direct, buffered File
	node             *node
	memAlign         int // of buffers, in bytes
	align            int // of offsets and lengths, in bytes
}

// alignUnknown is for backings that do not tell (tmpfs; Linux before 6.1).
const alignUnknown = 4096

// newDirectFile puts the O_DIRECT descriptor fd, which it owns, into a File of
// node n. flags are those it was opened with, by c.
func newDirectFile(n *node, fd, flags int, c caller) (File, error) {
	t := n.tree
	memAlign, align := alignUnknown, alignUnknown
	var st unix.Statx_t
	if statxFd(fd, unix.STATX_DIOALIGN, &st) == 0 && st.Mask&unix.STATX_DIOALIGN != 0 {
		memAlign, align = int(st.Dio_mem_align), int(st.Dio_offset_align)
	}
	again, errno := t.reopen(fd, flags&^(syscall.O_DIRECT|syscall.O_TRUNC))
	if errno != 0 {
		// A file that its creator may write and the daemon may not open again.
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&^syscall.O_DIRECT); err != nil {
			unix.Close(fd)
			return nil, err
		}
		return newBufferedFile(n, fd, c)
	}
	buffered, err := t.openFile(again, c)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	if memAlign == 0 || align == 0 { // this file cannot be read and written directly
		unix.Close(fd)
		return buffered, nil
	}
	direct, err := t.openFile(fd, c)
	if err != nil {
		return nil, errors.Join(err, buffered.Close())
	}
	n.initDirectTurns()
	return &directFile{direct: direct, buffered: buffered, node: n, memAlign: memAlign, align: align}, nil
}

// bufferedFile is a file that was opened without O_DIRECT where others may open
// it with (Options.BackingDirect): it takes its turn among their requests.
type bufferedFile struct {
	File
	node *node
}

func newBufferedFile(n *node, fd int, c caller) (File, error) {
	file, err := n.tree.openFile(fd, c)
	if err != nil {
		return nil, err
	}
	n.initDirectTurns()
	return &bufferedFile{file, n}, nil
}

// ReadAt implements [File].
func (f *bufferedFile) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if errno := f.node.direct.use(f.node.tree, false); errno != 0 {
		return 0, errno
	}
	defer reactor.Finally(f.node.direct.done)
	return f.File.ReadAt(ctx, p, off)
}

// WriteAt implements [File].
func (f *bufferedFile) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	if errno := f.node.direct.use(f.node.tree, false); errno != 0 {
		return 0, errno
	}
	defer reactor.Finally(f.node.direct.done)
	return f.File.WriteAt(ctx, p, off)
}

// initDirectTurns is for the first file of a node where BackingDirect is on.
func (n *node) initDirectTurns() {
	n.directOnce.Do(func() {
		m := new(turns)
		m.init(true, nil)
		n.direct = m
	})
}

// fits says whether the backing takes a request of that place and size.
func (f *directFile) fits(off int64, length int) bool {
	return off%int64(f.align) == 0 && length%f.align == 0
}

// ReadAt implements [File].
func (f *directFile) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	if f.fits(off, len(p)) {
		n, err = f.aligned(p, func(p []byte) (int, error) { return f.direct.ReadAt(ctx, p, off) }, false)
		if !errors.Is(err, syscall.EINVAL) {
			return n, err
		}
	}
	// The rest may be what goes on after an odd end of the file.
	if errno := f.node.direct.use(f.node.tree, false); errno != 0 {
		return n, errno
	}
	defer reactor.Finally(f.node.direct.done)
	more, err := f.buffered.ReadAt(ctx, p[n:], off+int64(n))
	return n + more, err
}

// WriteAt implements [File].
func (f *directFile) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	if f.fits(off, len(p)) {
		if errno := f.node.direct.use(f.node.tree, true); errno != 0 {
			return 0, errno
		}
		n, err = f.aligned(p, func(p []byte) (int, error) { return f.direct.WriteAt(ctx, p, off) }, true)
		reactor.Finally(f.node.direct.done)
		if !errors.Is(err, syscall.EINVAL) {
			return n, err
		}
	}
	if errno := f.node.direct.use(f.node.tree, false); errno != 0 {
		return n, errno
	}
	defer reactor.Finally(f.node.direct.done)
	more, err := f.buffered.WriteAt(ctx, p[n:], off+int64(n))
	return n + more, err
}

// aligned runs a transfer on p, or on memory that the backing's device can reach
// in its place.
func (f *directFile) aligned(p []byte, transfer func([]byte) (int, error), writes bool) (int, error) {
	if uintptr(unsafe.Pointer(unsafe.SliceData(p)))%uintptr(f.memAlign) == 0 {
		return transfer(p)
	}
	buf := bounces.Get().(*[]byte)
	defer bounces.Put(buf)
	if need := len(p) + f.memAlign; cap(*buf) < need {
		*buf = make([]byte, need)
	}
	q := (*buf)[:cap(*buf)]
	if odd := int(uintptr(unsafe.Pointer(unsafe.SliceData(q))) % uintptr(f.memAlign)); odd != 0 {
		q = q[f.memAlign-odd:]
	}
	q = q[:len(p)]
	if writes {
		copy(q, p)
		return transfer(q)
	}
	n, err := transfer(q)
	copy(p, q[:n])
	return n, err
}

// bounces are buffers for data that lies where O_DIRECT cannot have it.
var bounces = sync.Pool{New: func() any { return new([]byte) }}

// Fsync implements [File]. It covers what went through either descriptor.
func (f *directFile) Fsync(ctx context.Context, datasync bool) error {
	return f.buffered.Fsync(ctx, datasync)
}

// Fallocate implements [File].
func (f *directFile) Fallocate(ctx context.Context, mode uint32, off, length int64) error {
	return f.buffered.Fallocate(ctx, mode, off, length)
}

// Fd implements [File].
func (f *directFile) Fd() int { return f.direct.Fd() }

// Close implements [File].
func (f *directFile) Close() error { return errors.Join(f.direct.Close(), f.buffered.Close()) }
