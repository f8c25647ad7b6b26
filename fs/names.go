package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

var _ = (fusefs.NodeLinker)((*node)(nil))

// Link gives target another name, its first one if it was made with O_TMPFILE.
func (n *node) Link(ctx context.Context, target fusefs.InodeEmbedder, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	child, ok := target.(*node)
	if !ok {
		return nil, syscall.EXDEV
	}
	dir, errno := n.pin()
	if errno != 0 {
		return nil, errno
	}
	defer dir.release()
	p, errno := child.pin()
	if errno != 0 {
		return nil, errno
	}
	defer p.release()
	errno = n.tree.block(func() syscall.Errno {
		err := unix.Linkat(p.fd, "", dir.fd, name, unix.AT_EMPTY_PATH)
		if err == unix.ENOENT {
			// Without CAP_DAC_READ_SEARCH (open(2), O_TMPFILE).
			err = unix.Linkat(n.tree.procFD, procName(p.fd), dir.fd, name, unix.AT_SYMLINK_FOLLOW)
		}
		return toErrno(err)
	})
	if errno != 0 {
		return nil, errno
	}
	if errno := child.getattr(p.fd, &out.Attr); errno != 0 {
		return nil, errno
	}
	child.retain(1)
	return &child.Inode, 0
}

var _ = (fusefs.NodeUnlinker)((*node)(nil))

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	return n.remove(name, 0)
}

var _ = (fusefs.NodeRmdirer)((*node)(nil))

func (n *node) Rmdir(ctx context.Context, name string) syscall.Errno {
	return n.remove(name, unix.AT_REMOVEDIR)
}

func (n *node) remove(name string, flags int) syscall.Errno {
	p, errno := n.pin()
	if errno != 0 {
		return errno
	}
	defer p.release()
	return n.tree.block(func() syscall.Errno {
		return toErrno(unix.Unlinkat(p.fd, name, flags))
	})
}

var _ = (fusefs.NodeRenamer)((*node)(nil))

func (n *node) Rename(ctx context.Context, name string, newParent fusefs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	to, ok := newParent.(*node)
	if !ok {
		return syscall.EXDEV
	}
	from, errno := n.pin()
	if errno != 0 {
		return errno
	}
	defer from.release()
	p, errno := to.pin()
	if errno != 0 {
		return errno
	}
	defer p.release()
	rename := func() syscall.Errno {
		return toErrno(unix.Renameat2(from.fd, name, p.fd, newName, uint(flags)))
	}
	return n.tree.block(func() syscall.Errno {
		if flags&unix.RENAME_WHITEOUT != 0 {
			return n.tree.id.run(callerOf(ctx), withCaps, rename) // whose the whiteout is
		}
		return rename()
	})
}
