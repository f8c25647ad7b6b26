package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const aclDefault = "system.posix_acl_default"

// creation is what every request that makes an inode has in common.
type creation struct {
	parent *node
	dirfd  int
	caller caller
}

// begin pins the parent directory; the caller must release the pathFD.
func (n *node) begin(ctx context.Context) (creation, pathFD, syscall.Errno) {
	p, errno := n.pin()
	return creation{parent: n, dirfd: p.fd, caller: callerOf(ctx)}, p, errno
}

// mode is the mode to create with: less the umask, unless the directory has a
// default ACL, which takes its place (acl(5)). The daemon's own umask must be 0.
func (c creation) mode(mode uint32) uint32 {
	umask := c.caller.umask()
	if umask == 0 || mode&umask == 0 {
		return mode
	}
	size, err := unix.Getxattr(procPath(c.dirfd), aclDefault, nil)
	if err == nil && size > 0 {
		return mode
	}
	return mode &^ umask
}

// run makes the inode as the caller, so that owner, group, quota and inherited
// bits are the backing's decision. Where its ids do not suffice it calls make
// again with what FUSE does not tell of the caller, and with exclusive set: what
// is there already was not the kernel's to check.
func (c creation) run(mode uint32, make func(exclusive bool) syscall.Errno) syscall.Errno {
	id := c.parent.tree.id
	// Whether set-group-id stays on a file depends on the caller's groups
	// (mode_strip_sgid in Linux).
	const sgid = syscall.S_ISGID | syscall.S_IXGRP
	with := idsOnly
	if mode&sgid == sgid && mode&syscall.S_IFMT != syscall.S_IFDIR {
		with = withGroups
	}
	errno := id.run(c.caller, with, func() syscall.Errno { return make(false) })
	if (errno == syscall.EACCES || errno == syscall.EPERM) && id.switches && c.caller.uid != 0 {
		errno = id.run(c.caller, withCaps, func() syscall.Errno { return make(true) })
	}
	return errno
}

// entry makes an inode with fn and returns its node for the kernel.
func (n *node) entry(ctx context.Context, name string, mode uint32, out *fuse.EntryOut,
	fn func(dirfd int, mode uint32) error) (*fusefs.Inode, syscall.Errno) {
	c, p, errno := n.begin(ctx)
	if errno != 0 {
		return nil, errno
	}
	defer p.release()
	var child *node
	errno = n.tree.block(func() syscall.Errno {
		mode := c.mode(mode)
		errno := c.run(mode, func(bool) syscall.Errno { return toErrno(fn(c.dirfd, mode)) })
		if errno != 0 {
			return errno
		}
		child, errno = c.made(ctx, name, mode&syscall.S_IFMT, &out.Attr)
		return errno
	})
	if errno != 0 {
		return nil, errno
	}
	return &child.Inode, 0
}

// made looks up what was created a moment ago. Somebody may have put something
// else in its place meanwhile, which then is no answer to the request.
func (c creation) made(ctx context.Context, name string, typ uint32, attr *fuse.Attr) (*node, syscall.Errno) {
	t := c.parent.tree
	fd, errno := t.retryShort(func() (int, syscall.Errno) { return openPath(c.dirfd, name) })
	if errno != 0 {
		return nil, errno
	}
	child, errno := t.adopt(ctx, c.parent, fd, attr)
	if errno == 0 && uint32(child.key.typ) != typ {
		child.forget(1)
		return nil, syscall.ESTALE
	}
	return child, errno
}

var _ = (fusefs.NodeMkdirer)((*node)(nil))

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return n.entry(ctx, name, mode|syscall.S_IFDIR, out, func(dirfd int, mode uint32) error {
		return unix.Mkdirat(dirfd, name, mode&07777)
	})
}

var _ = (fusefs.NodeMknoder)((*node)(nil))

func (n *node) Mknod(ctx context.Context, name string, mode, dev uint32, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	if mode&syscall.S_IFMT == 0 {
		mode |= syscall.S_IFREG // mknod(2)
	}
	return n.entry(ctx, name, mode, out, func(dirfd int, mode uint32) error {
		return unix.Mknodat(dirfd, name, mode, int(dev))
	})
}

var _ = (fusefs.NodeSymlinker)((*node)(nil))

func (n *node) Symlink(ctx context.Context, target, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	return n.entry(ctx, name, syscall.S_IFLNK, out, func(dirfd int, mode uint32) error {
		return unix.Symlinkat(target, dirfd, name)
	})
}

var _ = (fusefs.NodeReadlinker)((*node)(nil))

func (n *node) Readlink(ctx context.Context) ([]byte, syscall.Errno) {
	p, errno := n.pin()
	if errno != 0 {
		return nil, errno
	}
	defer p.release()
	var target []byte
	errno = n.tree.block(func() syscall.Errno {
		buf := make([]byte, unix.PathMax)
		size, err := unix.Readlinkat(p.fd, "", buf)
		if err == nil {
			target = buf[:size]
		}
		return toErrno(err)
	})
	return target, errno
}

var _ = (fusefs.NodeCreater)((*node)(nil))

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	return n.createOpen(ctx, flags, mode, out, name, unix.O_CREAT|unix.O_NOFOLLOW|int(flags&syscall.O_EXCL))
}

var _ = (fusefs.NodeTmpfiler)((*node)(nil))

// Tmpfile makes a file without a name. Without O_EXCL it can be linked later,
// through its node like any other.
func (n *node) Tmpfile(ctx context.Context, flags, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	return n.createOpen(ctx, flags, mode, out, ".", unix.O_TMPFILE|int(flags&syscall.O_EXCL))
}

// createOpen creates a file as the caller and opens it, with the caller's flags
// and those of how.
func (n *node) createOpen(ctx context.Context, flags, mode uint32, out *fuse.EntryOut, name string, how int) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	c, p, errno := n.begin(ctx)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	defer p.release()
	t := n.tree
	backing := t.backingFlags(flags)
	var child *node
	var h *handle
	errno = t.block(func() syscall.Errno {
		fd := -1
		mode := c.mode(mode)
		errno := c.run(mode, func(exclusive bool) (errno syscall.Errno) {
			how := how
			if exclusive && how&unix.O_CREAT != 0 { // with O_TMPFILE it has another meaning
				how |= unix.O_EXCL
			}
			fd, errno = t.retryShort(func() (int, syscall.Errno) {
				return openat(c.dirfd, name, backing|how, mode&07777)
			})
			if errno == syscall.EEXIST && flags&syscall.O_EXCL == 0 {
				errno = syscall.ESTALE // the kernel looks again, and finds it
			}
			return errno
		})
		if errno != 0 {
			return errno
		}
		// An O_PATH descriptor of its own: the one for data would keep the
		// file from being executed (ETXTBSY) after the last writer's close.
		pathFD, errno := t.retryShort(func() (int, syscall.Errno) {
			return openat(t.procFD, procName(fd), unix.O_PATH, 0)
		})
		if errno == 0 {
			child, errno = t.adopt(ctx, n, pathFD, &out.Attr)
		}
		if errno != 0 {
			unix.Close(fd)
			return errno
		}
		if h, errno = child.newHandle(fd, backing, c.caller); errno != 0 {
			child.forget(1)
		}
		return errno
	})
	if errno != 0 {
		return nil, nil, 0, errno
	}
	return &child.Inode, h, h.fuseFlags(flags), 0
}
