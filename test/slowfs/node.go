package main

import (
	"context"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a loopback node whose slow operations wait at the gate first.
type node struct {
	*fusefs.LoopbackNode
	gate *gate
}

var _ = (fusefs.NodeWrapChilder)((*node)(nil))

func (n *node) WrapChild(_ context.Context, ops fusefs.InodeEmbedder) fusefs.InodeEmbedder {
	if inner, ok := ops.(*fusefs.LoopbackNode); ok {
		return &node{inner, n.gate}
	}
	return ops // the control file
}

var _ = (fusefs.NodeLookuper)((*node)(nil))

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if n.IsRoot() && name == controlName {
		out.Mode = syscall.S_IFREG | 0o644
		return n.GetChild(name), 0
	}
	if errno := n.gate.wait(ctx, "lookup"); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Lookup(ctx, name, out)
}

var _ = (fusefs.NodeGetattrer)((*node)(nil))

func (n *node) Getattr(ctx context.Context, f fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if errno := n.gate.wait(ctx, "getattr"); errno != 0 {
		return errno
	}
	if slow, ok := f.(*file); ok {
		f = slow.inner
	}
	return n.LoopbackNode.Getattr(ctx, f, out)
}

var _ = (fusefs.NodeStatxer)((*node)(nil))

// Statx is what the kernel sends instead where it is asked for more than
// GETATTR tells, by stat(1) for one.
func (n *node) Statx(ctx context.Context, f fusefs.FileHandle, flags, mask uint32, out *fuse.StatxOut) syscall.Errno {
	if errno := n.gate.wait(ctx, "getattr"); errno != 0 {
		return errno
	}
	if slow, ok := f.(*file); ok {
		f = slow.inner
	}
	return n.LoopbackNode.Statx(ctx, f, flags, mask, out)
}

var _ = (fusefs.NodeSetattrer)((*node)(nil))

func (n *node) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if slow, ok := f.(*file); ok {
		f = slow.inner
	}
	return n.LoopbackNode.Setattr(ctx, f, in, out)
}

var _ = (fusefs.NodeGetxattrer)((*node)(nil))

func (n *node) Getxattr(ctx context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	// The kernel asks for it before every write, which is not what a slow
	// getxattr is meant to show.
	if attr != "security.capability" {
		if errno := n.gate.wait(ctx, "getxattr"); errno != 0 {
			return 0, errno
		}
	}
	return n.LoopbackNode.Getxattr(ctx, attr, dest)
}

var _ = (fusefs.NodeOpendirHandler)((*node)(nil))

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if errno := n.gate.wait(ctx, "readdir"); errno != 0 {
		return nil, 0, errno
	}
	return n.LoopbackNode.OpendirHandle(ctx, flags)
}

// Files bypass the page cache of this mount, so that each read(2) of whoever
// uses it as a backing is a read here.
const openReply = fuse.FOPEN_DIRECT_IO | fuse.FOPEN_PARALLEL_DIRECT_WRITES

var _ = (fusefs.NodeOpener)((*node)(nil))

func (n *node) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	if errno := n.gate.wait(ctx, "open"); errno != 0 {
		return nil, 0, errno
	}
	f, _, errno := n.LoopbackNode.Open(ctx, flags&^syscall.O_DIRECT)
	if errno != 0 {
		return nil, 0, errno
	}
	return &file{f.(*fusefs.LoopbackFile), n.gate}, openReply, 0
}

var _ = (fusefs.NodeCreater)((*node)(nil))

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	child, f, _, errno := n.LoopbackNode.Create(ctx, name, flags&^syscall.O_DIRECT, mode, out)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return child, &file{f.(*fusefs.LoopbackFile), n.gate}, openReply, 0
}

// file is an open file whose data operations wait at the gate first. It does
// not embed LoopbackFile, whose PassthroughFd would let the kernel bypass it.
type file struct {
	inner *fusefs.LoopbackFile
	gate  *gate
}

var _ = (fusefs.FileReader)((*file)(nil))

func (f *file) Read(ctx context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := f.gate.wait(ctx, "read"); errno != 0 {
		return nil, errno
	}
	return f.inner.Read(ctx, dest, off)
}

var _ = (fusefs.FileWriter)((*file)(nil))

func (f *file) Write(ctx context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := f.gate.wait(ctx, "write"); errno != 0 {
		return 0, errno
	}
	return f.inner.Write(ctx, data, off)
}

var _ = (fusefs.FileFsyncer)((*file)(nil))

func (f *file) Fsync(ctx context.Context, flags uint32) syscall.Errno {
	if errno := f.gate.wait(ctx, "fsync"); errno != 0 {
		return errno
	}
	return f.inner.Fsync(ctx, flags)
}

var _ = (fusefs.FileAllocater)((*file)(nil))

func (f *file) Allocate(ctx context.Context, off, size uint64, mode uint32) syscall.Errno {
	return f.inner.Allocate(ctx, off, size, mode)
}

var _ = (fusefs.FileLseeker)((*file)(nil))

func (f *file) Lseek(ctx context.Context, off uint64, whence uint32) (uint64, syscall.Errno) {
	return f.inner.Lseek(ctx, off, whence)
}

var _ = (fusefs.FileFlusher)((*file)(nil))

func (f *file) Flush(ctx context.Context) syscall.Errno {
	if errno := f.gate.wait(ctx, "flush"); errno != 0 {
		return errno
	}
	return f.inner.Flush(ctx)
}

var _ = (fusefs.FileReleaser)((*file)(nil))

func (f *file) Release(ctx context.Context) syscall.Errno { return f.inner.Release(ctx) }

// control is the file through which a test steers the gate: each line written
// is a command, and reading it tells how many operations wait. It never waits.
type control struct {
	fusefs.Inode
	gate *gate
}

// controlName is the name of the control file in the root of the mount.
const controlName = ".slowfs"

var _ = (fusefs.NodeGetattrer)((*control)(nil))

func (c *control) Getattr(_ context.Context, _ fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = 0o644
	return 0
}

var _ = (fusefs.NodeSetattrer)((*control)(nil))

// Setattr ignores the truncation that echo > file begins with.
func (c *control) Setattr(ctx context.Context, f fusefs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return c.Getattr(ctx, f, out)
}

var _ = (fusefs.NodeOpener)((*control)(nil))

func (c *control) Open(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

var _ = (fusefs.NodeReader)((*control)(nil))

func (c *control) Read(_ context.Context, _ fusefs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	status := c.gate.status()
	if off >= int64(len(status)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, status[off:])]), 0
}

var _ = (fusefs.NodeWriter)((*control)(nil))

func (c *control) Write(_ context.Context, _ fusefs.FileHandle, data []byte, _ int64) (uint32, syscall.Errno) {
	for line := range strings.Lines(string(data)) {
		if err := c.gate.command(line); err != nil {
			return 0, syscall.EINVAL
		}
	}
	return uint32(len(data)), 0
}
