package fs

import (
	"context"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

// handle is an open regular file. It owns its File until Release, which the
// kernel sends when no request for the handle is left.
type handle struct {
	node  *node
	file  File
	flags uint32 // of the backing descriptor, O_APPEND apart

	// canAppend: it was opened with O_APPEND, and appends says whether the
	// descriptor has that now.
	canAppend bool
	appends   turns

	// past: reads at the end of the file have to look for what the kernel has
	// not written back (see readPast).
	past bool

	// watched: the node is looked at for its sake (node.watch).
	watched bool

	// lockOwners took record locks through the handle.
	locks      sync.Mutex // guards it, and is a leaf
	lockOwners []uint64
}

func (h *handle) writable() bool { return h.flags&syscall.O_ACCMODE != syscall.O_RDONLY }

// backingFlags are the open flags the backing sees for those of the caller.
func (t *Tree) backingFlags(flags uint32) int {
	const passed = syscall.O_ACCMODE | syscall.O_APPEND | syscall.O_TRUNC |
		syscall.O_SYNC | syscall.O_DSYNC | syscall.O_NOATIME
	f := int(flags & passed)
	if t.opts.BackingDirect && flags&syscall.O_APPEND == 0 {
		// Where an append goes, and so whether it is aligned, is known to the
		// backing alone.
		f |= int(flags & syscall.O_DIRECT)
	}
	if t.opts.WritebackCache {
		// The kernel then places appended data itself, and reads in pages
		// that are written in part.
		f &^= syscall.O_APPEND
		if f&syscall.O_ACCMODE == syscall.O_WRONLY {
			f = f&^syscall.O_ACCMODE | syscall.O_RDWR
		}
	}
	if t.opts.NoAtime {
		f |= syscall.O_NOATIME
	}
	return f
}

// reopen opens the inode behind the O_PATH descriptor fd with flags.
func (t *Tree) reopen(fd, flags int) (int, syscall.Errno) {
	name := procName(fd)
	open := func(flags int) (int, syscall.Errno) {
		return t.retryShort(func() (int, syscall.Errno) { return openat(t.procFD, name, flags, 0) })
	}
	got, errno := open(flags)
	if errno == syscall.EPERM && t.opts.NoAtime && flags&syscall.O_NOATIME != 0 {
		got, errno = open(flags &^ syscall.O_NOATIME) // not the daemon's file
	}
	if errno == syscall.EACCES && t.opts.WritebackCache && flags&syscall.O_ACCMODE == syscall.O_RDWR {
		// Widened above, and the daemon may write but not read.
		got, errno = open(flags&^syscall.O_ACCMODE | syscall.O_WRONLY)
	}
	return got, errno
}

// newHandle puts the backing descriptor fd, which it owns, into a handle of c's.
func (n *node) newHandle(fd, flags int, c caller) (*handle, syscall.Errno) {
	open := func(fd int) (File, error) { return n.tree.openFile(fd, c) }
	switch {
	case flags&syscall.O_DIRECT != 0:
		open = func(fd int) (File, error) { return newDirectFile(n, fd, flags, c) }
	case n.tree.opts.BackingDirect:
		open = func(fd int) (File, error) { return newBufferedFile(n, fd, c) }
	}
	file, err := open(fd)
	if err != nil {
		return nil, toErrno(err)
	}
	n.tree.openFiles.Add(1)
	h := &handle{
		node:      n,
		file:      file,
		flags:     uint32(flags &^ syscall.O_APPEND),
		canAppend: flags&syscall.O_APPEND != 0,
	}
	h.appends.init(true, func(on bool) syscall.Errno { return switchAppend(file.Fd(), on) })
	if h.writable() {
		n.writers.Add(1)
	}
	return h, 0
}

// openFile gives fd to the IO. What users write must count as theirs, to quotas
// and to space that is kept for root: the daemon may have more rights than they.
// Whose it is depends on who has opened the file, as the kernel does not say who
// wrote what it writes back.
func (t *Tree) openFile(fd int, c caller) (File, error) {
	file, err := t.io.Open(fd)
	if f, ok := file.(interface{ SetUnprivileged() }); ok && err == nil && c.uid != 0 {
		f.SetUnprivileged()
	}
	return file, err
}

// fuseFlags says how the kernel is to treat the handle, which was opened with
// the caller's flags.
func (h *handle) fuseFlags(flags uint32) uint32 {
	t := h.node.tree
	h.past = t.opts.WritebackCache && flags&syscall.O_DIRECT != 0
	var out uint32
	if !t.opts.RemoteLocks && !(t.slow && h.writable()) {
		// Nothing to flush: a local backing reports its errors on write and
		// fsync, what is only read has none, and locks are the kernel's own.
		// FLUSH cannot be given up: a killed reader would wait for its turn
		// behind requests that hang.
		out |= fuse.FOPEN_NOFLUSH
	}
	if t.opts.Passthrough {
		return out // O_DIRECT is the backing's then
	}
	if t.opts.DirectIO || flags&syscall.O_DIRECT != 0 {
		return out | fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES
	}
	h.watched = true
	h.node.watch(true)
	if t.opts.KeepCache || h.node.cache.unchanged(h.file.Fd()) {
		out |= fuse.FOPEN_KEEP_CACHE
	}
	return out
}

var _ = (fusefs.FilePassthroughFder)((*handle)(nil))

// PassthroughFd is the file that the kernel may read and write itself. It does
// so for all openers of an inode or for none.
func (h *handle) PassthroughFd() (int, bool) {
	return h.file.Fd(), h.node.tree.opts.Passthrough
}

var _ = (fusefs.NodeOpener)((*node)(nil))

func (n *node) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	p, errno := n.pin()
	if errno != 0 {
		return nil, 0, errno
	}
	defer p.release()
	truncates := flags&syscall.O_TRUNC != 0
	if truncates && !n.tree.opts.WritebackCache && n.writers.Load() > 0 {
		// Pages of a mapping may be on their way: the kernel does not wait for
		// them (as it does with the writeback cache, and before a SETATTR), and
		// after the truncation they would make the file long again (Linux 6.18,
		// fuse_open).
		n.writeBack(0)
	}
	var h *handle
	c := callerOf(ctx)
	if truncates {
		defer reactor.Finally(n.change(unknownSize))
	}
	if n.tree.slow || truncates {
		kill := truncates && c.killPriv()
		errno = n.tree.block(func() syscall.Errno {
			return n.changeAs(c, p.fd, kill, func() (errno syscall.Errno) {
				h, errno = n.open(p.fd, flags, c)
				return errno
			})
		})
	} else {
		h, errno = n.open(p.fd, flags, c)
	}
	if errno != 0 {
		return nil, 0, errno
	}
	return h, h.fuseFlags(flags), 0
}

func (n *node) open(pathFD int, flags uint32, c caller) (*handle, syscall.Errno) {
	backing := n.tree.backingFlags(flags)
	fd, errno := n.tree.reopen(pathFD, backing)
	if errno == syscall.EPERM && n.tree.opts.WritebackCache && flags&syscall.O_APPEND != 0 {
		// An append-only inode: what the kernel writes back goes to its end.
		fd, errno = n.tree.reopen(pathFD, backing|syscall.O_APPEND)
	}
	if errno != 0 {
		return nil, errno
	}
	return n.newHandle(fd, backing, c)
}

var _ = (fusefs.FileReader)((*handle)(nil))

func (h *handle) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := h.file.ReadAt(ctx, dest, off)
	if err != nil && n == 0 {
		return nil, toErrno(err)
	}
	if h.past && n < len(dest) && err == nil {
		n = h.readPast(ctx, dest, off, n)
	}
	return inPlace(dest[:n]), 0
}

// readPast goes on with an O_DIRECT read that found the end of the backing file
// after n bytes. With the writeback cache the kernel may have data further on,
// of which it writes back only what the read covers: what lies before it is a
// hole, not the end (Linux 6.18, fuse_direct_io).
func (h *handle) readPast(ctx context.Context, dest []byte, off int64, n int) int {
	if h.node.writers.Load() == 0 || h.node.writeBack(off+int64(n)) != 0 {
		return n
	}
	more, _ := h.file.ReadAt(ctx, dest[n:], off+int64(n))
	return n + more
}

// inPlace is data that lies where go-fuse wants it. A fuse.ReadResultData is
// vectored too, which ProtocolServer takes as a request to copy it.
type inPlace []byte

func (r inPlace) Size() int                          { return len(r) }
func (r inPlace) Bytes([]byte) ([]byte, fuse.Status) { return r, fuse.OK }
func (r inPlace) Done()                              {}

var _ = (fusefs.FileWriter)((*handle)(nil))

func (h *handle) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if h.canAppend || h.node.setID.Load() {
		return h.writeSlow(ctx, data, off)
	}
	defer reactor.Finally(h.node.change(off + int64(len(data))))
	return h.write(ctx, data, off)
}

// write is the transfer of a Write, within a change of the node.
func (h *handle) write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	n, err := h.file.WriteAt(ctx, data, off)
	if n < len(data) {
		h.node.cache.cameShort()
	}
	if err != nil && n == 0 {
		return 0, toErrno(err)
	}
	return uint32(n), 0
}

// writeSlow is Write for files that have or had O_APPEND or set-id bits.
func (h *handle) writeSlow(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	defer reactor.Finally(h.node.change(off + int64(len(data))))
	c := callerOf(ctx)
	if c.killPriv() {
		h.node.tree.block(func() syscall.Errno {
			h.node.killPriv(c, h.file.Fd())
			return 0
		})
	}
	if h.canAppend {
		if errno := h.appends.use(h.node.tree, c.appends()); errno != 0 {
			h.node.cache.cameShort()
			return 0, errno
		}
		defer reactor.Finally(h.appends.done)
	}
	return h.write(ctx, data, off)
}

var _ = (fusefs.FileWritever)((*handle)(nil))

// Writev writes the pieces one after the other, up to the first failure.
func (h *handle) Writev(ctx context.Context, data [][]byte, off int64) (uint32, syscall.Errno) {
	var total uint32
	for _, p := range data {
		n, errno := h.Write(ctx, p, off)
		total += n
		off += int64(n)
		if errno != 0 && total == 0 {
			return 0, errno
		}
		if errno != 0 || int(n) < len(p) {
			break
		}
	}
	return total, 0
}

var _ = (fusefs.FileFsyncer)((*handle)(nil))

func (h *handle) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	const datasync = 1 // FUSE_FSYNC_FDATASYNC
	return toErrno(h.file.Fsync(ctx, flags&datasync != 0))
}

var _ = (fusefs.FileAllocater)((*handle)(nil))

func (h *handle) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	h.changed(ctx)
	defer reactor.Finally(h.node.change(unknownSize))
	return toErrno(h.file.Fallocate(ctx, mode, int64(off), int64(size)))
}

// changed clears set-id bits before a change whose request does not say whether
// the caller may leave them: only root is taken to.
func (h *handle) changed(ctx context.Context) {
	if !h.node.setID.Load() {
		return
	}
	c := callerOf(ctx)
	if c.uid == 0 {
		return
	}
	h.node.tree.block(func() syscall.Errno {
		h.node.killPriv(c, h.file.Fd())
		return 0
	})
}

var _ = (fusefs.FileFlusher)((*handle)(nil))

// Flush closes a duplicate of the descriptor, which is how a network backing
// writes its data out and reports what went wrong (close(2)).
func (h *handle) Flush(ctx context.Context) syscall.Errno {
	t := h.node.tree
	if !t.slow {
		return 0
	}
	return t.block(func() syscall.Errno {
		fd, err := unix.FcntlInt(uintptr(h.file.Fd()), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return toErrno(err)
		}
		return toErrno(unix.Close(fd))
	})
}

var _ = (fusefs.FileReleaser)((*handle)(nil))

func (h *handle) Release(ctx context.Context) syscall.Errno {
	t := h.node.tree
	t.openFiles.Add(-1)
	h.node.settle() // who has closed the file may tell others to change it
	if h.writable() {
		h.node.writers.Add(-1)
	}
	if h.watched {
		h.node.watch(false)
	}
	if t.opts.RemoteLocks {
		defer h.node.locks.wake() // flock(2) ends with the descriptor
	} else if !t.slow && !h.writable() {
		// Nothing to write out, and the node keeps the inode.
		return toErrno(h.file.Close())
	}
	return t.block(func() syscall.Errno {
		h.releaseLocks()
		return toErrno(h.file.Close())
	})
}

var _ = (fusefs.FileLseeker)((*handle)(nil))

// Lseek finds holes and data. The offset of the descriptor means nothing here.
func (h *handle) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	if h.node.tree.opts.WritebackCache {
		// The backing does not know data that the kernel has not written back
		// yet, and would call it a hole. ENOSYS on purpose: the kernel answers
		// by itself from now on, that everything is data.
		return 0, syscall.ENOSYS
	}
	if h.node.writers.Load() > 0 {
		// Pages dirtied through a mapping: the kernel does not write them back
		// for this request (Linux 6.18), and they would pass for holes.
		h.node.writeBack(0)
	}
	var pos int64
	errno := h.node.tree.block(func() (errno syscall.Errno) {
		var err error
		pos, err = unix.Seek(h.file.Fd(), int64(off), int(whence))
		return toErrno(err)
	})
	return uint64(pos), errno
}

var _ = (fusefs.NodeCopyFileRanger)((*node)(nil))

// copyChunk bounds one copy_file_range, in bytes, so that a copy that really
// moves data can be interrupted. Short copies are in order (copy_file_range(2)).
const copyChunk = 128 << 20

func (n *node) CopyFileRange(ctx context.Context, fhIn fusefs.FileHandle, offIn uint64, out *fusefs.Inode,
	fhOut fusefs.FileHandle, offOut, length, flags uint64) (uint32, syscall.Errno) {
	from, ok1 := fhIn.(*handle)
	to, ok2 := fhOut.(*handle)
	if !ok1 || !ok2 {
		return 0, syscall.EBADF
	}
	to.changed(ctx)
	defer reactor.Finally(to.node.change(unknownSize))
	var copied int
	errno := n.tree.block(func() syscall.Errno {
		with := idsOnly // for the sake of quotas
		if to.node.setID.Load() {
			with = withGroups // which decide about the bits
		}
		return n.tree.id.run(callerOf(ctx), with, func() syscall.Errno {
			in, out := int64(offIn), int64(offOut)
			var err error
			copied, err = unix.CopyFileRange(from.file.Fd(), &in, to.file.Fd(), &out,
				int(min(length, copyChunk)), int(flags))
			return toErrno(err)
		})
	})
	return uint32(copied), errno
}
