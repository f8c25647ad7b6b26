package fs

import (
	"bytes"
	"context"
	"strings"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"
)

// Extended attributes have no calls for O_PATH descriptors; they go through
// /proc/self/fd, whose links lead to the inode itself, symlinks included.
// The kernel has checked the caller's right to the name (xattr_permission in
// Linux) before the request came.

const (
	aclPrefix     = "system.posix_acl_"
	trustedPrefix = "trusted."
)

var _ = (fusefs.NodeGetxattrer)((*node)(nil))

func (n *node) Getxattr(ctx context.Context, attr string, dest []byte) (uint32, syscall.Errno) {
	return n.readXattr(dest, func(path string, buf []byte) (int, error) {
		return unix.Getxattr(path, attr, buf)
	})
}

// readXattr calls get where it may block. An empty dest asks for the size.
func (n *node) readXattr(dest []byte, get func(path string, buf []byte) (int, error)) (uint32, syscall.Errno) {
	p, errno := n.pin()
	if errno != 0 {
		return 0, errno
	}
	defer p.release()
	var size int
	errno = n.tree.block(func() (errno syscall.Errno) {
		var err error
		size, err = get(procPath(p.fd), dest)
		return toErrno(err)
	})
	return uint32(max(size, 0)), errno
}

var _ = (fusefs.NodeListxattrer)((*node)(nil))

// Listxattr leaves trusted.* out for callers without privilege, as the kernel
// does for filesystems of its own (simple_xattr_list in Linux).
func (n *node) Listxattr(ctx context.Context, dest []byte) (uint32, syscall.Errno) {
	if c := callerOf(ctx); c.uid == 0 || !n.tree.id.switches {
		return n.readXattr(dest, unix.Listxattr)
	}
	buf := make([]byte, 64<<10) // XATTR_LIST_MAX
	size, errno := n.readXattr(buf, unix.Listxattr)
	if errno != 0 {
		return 0, errno
	}
	var names []byte
	for name := range bytes.SplitAfterSeq(buf[:size], []byte{0}) {
		if !bytes.HasPrefix(name, []byte(trustedPrefix)) {
			names = append(names, name...)
		}
	}
	if len(dest) == 0 {
		return uint32(len(names)), 0
	}
	if len(names) > len(dest) {
		return 0, syscall.ERANGE
	}
	return uint32(copy(dest, names)), 0
}

var _ = (fusefs.NodeSetxattrer)((*node)(nil))

func (n *node) Setxattr(ctx context.Context, attr string, data []byte, flags uint32) syscall.Errno {
	return n.changeXattr(ctx, attr, func(path string) error {
		return unix.Setxattr(path, attr, data, int(flags))
	})
}

var _ = (fusefs.NodeRemovexattrer)((*node)(nil))

func (n *node) Removexattr(ctx context.Context, attr string) syscall.Errno {
	errno := n.changeXattr(ctx, attr, func(path string) error {
		return unix.Removexattr(path, attr)
	})
	if errno == 0 && attr == "security.capability" && callerOf(ctx).uid == 0 {
		n.capsDropped.Store(true) // see touch
	}
	return errno
}

func (n *node) changeXattr(ctx context.Context, attr string, change func(path string) error) syscall.Errno {
	p, errno := n.pin()
	if errno != 0 {
		return errno
	}
	defer p.release()
	fn := func() syscall.Errno { return toErrno(change(procPath(p.fd))) }
	return n.tree.block(func() syscall.Errno {
		if strings.HasPrefix(attr, aclPrefix) {
			return n.changeACL(callerOf(ctx), fn)
		}
		return fn()
	})
}

// changeACL runs change as the caller: an ACL sets the mode, and whether
// set-group-id stays depends on who sets it (posix_acl_update_mode in Linux).
func (n *node) changeACL(c caller, change func() syscall.Errno) syscall.Errno {
	if n.tree.opts.ACL {
		return n.tree.id.run(c, withCaps, change)
	}
	// A kernel that does not know ACLs has not checked who may set one, nor does
	// it take the mode for changed.
	errno := n.tree.id.run(c, withGroups, change)
	if errno == 0 {
		n.forgetMode()
	}
	return errno
}
