package fs

import (
	"context"
	"sync"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// direntBytes is how much getdents64(2) is asked for at a time.
const direntBytes = 32 << 10

var direntPool = sync.Pool{New: func() any { return new([direntBytes]byte) }}

// dirHandle is an open directory. go-fuse runs one read of it at a time.
type dirHandle struct {
	node *node
	fd   int

	buf   *[direntBytes]byte // nil until the first read
	todo  []byte             // what is left in buf
	entry fuse.DirEntry      // the last one returned
}

var _ = (fusefs.NodeOpendirHandler)((*node)(nil))

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	p, errno := n.pin()
	if errno != 0 {
		return nil, 0, errno
	}
	defer p.release()
	h := &dirHandle{node: n, fd: -1}
	errno = n.tree.block(func() (errno syscall.Errno) {
		h.fd, errno = n.tree.reopen(p.fd, n.tree.backingFlags(flags&^syscall.O_ACCMODE)|unix.O_DIRECTORY)
		return errno
	})
	if errno != 0 {
		return nil, 0, errno
	}
	n.tree.openFiles.Add(1)
	return h, 0, 0
}

var _ = (fusefs.FileReaddirenter)((*dirHandle)(nil))

func (h *dirHandle) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	if len(h.todo) == 0 {
		if errno := h.fill(); errno != 0 || len(h.todo) == 0 {
			return nil, errno
		}
	}
	h.todo = h.todo[h.entry.Parse(h.todo):]
	return &h.entry, 0
}

func (h *dirHandle) fill() syscall.Errno {
	if h.buf == nil {
		h.buf = direntPool.Get().(*[direntBytes]byte)
	}
	return h.node.tree.block(func() syscall.Errno {
		size, err := unix.Getdents(h.fd, h.buf[:])
		h.todo = h.buf[:max(size, 0)]
		if err == unix.ENOENT {
			return 0 // a removed directory is empty (readdir(3))
		}
		return toErrno(err)
	})
}

var _ = (fusefs.FileLookuper)((*dirHandle)(nil))

// Lookup serves READDIRPLUS.
func (h *dirHandle) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	child, errno := h.node.tree.lookupAt(ctx, h.node, h.fd, name, &out.Attr)
	if errno != 0 {
		return nil, errno
	}
	return &child.Inode, 0
}

var _ = (fusefs.FileSeekdirer)((*dirHandle)(nil))

// Seekdir goes to a d_off that the backing handed out earlier, or to 0.
func (h *dirHandle) Seekdir(ctx context.Context, off uint64) syscall.Errno {
	h.todo = nil
	return h.node.tree.block(func() syscall.Errno {
		_, err := unix.Seek(h.fd, int64(off), unix.SEEK_SET)
		return toErrno(err)
	})
}

var _ = (fusefs.FileFsyncdirer)((*dirHandle)(nil))

func (h *dirHandle) Fsyncdir(ctx context.Context, flags uint32) syscall.Errno {
	return h.node.tree.block(func() syscall.Errno { return toErrno(unix.Fsync(h.fd)) })
}

var _ = (fusefs.FileReleasedirer)((*dirHandle)(nil))

func (h *dirHandle) Releasedir(ctx context.Context, flags uint32) {
	unix.Close(h.fd)
	if h.buf != nil {
		direntPool.Put(h.buf)
		h.buf, h.todo = nil, nil
	}
	h.node.tree.openFiles.Add(-1)
}
