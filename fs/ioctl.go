package fs

import (
	"context"
	"syscall"
	"unsafe"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"
)

// ioctlKind says how an ioctl is passed on.
type ioctlKind int

const (
	ioctlGet ioctlKind = iota + 1
	ioctlSet           // as the caller: the backing checks owner and privilege
)

// ioctls are those that are passed on. Everything else is refused: the daemon's
// rights would let any user shut the backing down (FS_IOC_SHUTDOWN) or trim it.
//
// FS_IOC_GETVERSION is not among them: its number says long, callers and
// filesystems mean int, and the kernel copies as much as the reply has, which
// go-fuse (v2.12.1) sizes by the number: the caller's stack would be overwritten.
var ioctls = map[uint32]ioctlKind{
	unix.FS_IOC_GETFLAGS: ioctlGet, // lsattr
	unix.FS_IOC_SETFLAGS: ioctlSet, // chattr
	0x801c581f:           ioctlGet, // FS_IOC_FSGETXATTR: project id, extent size
	0x401c5820:           ioctlSet, // FS_IOC_FSSETXATTR
}

var _ = (fusefs.FileIoctler)((*handle)(nil))

func (h *handle) Ioctl(ctx context.Context, cmd uint32, arg uint64, input, output []byte) (int32, syscall.Errno) {
	return h.node.ioctl(ctx, h.file.Fd(), cmd, input, output)
}

var _ = (fusefs.FileIoctler)((*dirHandle)(nil))

func (h *dirHandle) Ioctl(ctx context.Context, cmd uint32, arg uint64, input, output []byte) (int32, syscall.Errno) {
	return h.node.ioctl(ctx, h.fd, cmd, input, output)
}

func (n *node) ioctl(ctx context.Context, fd int, cmd uint32, input, output []byte) (result int32, errno syscall.Errno) {
	kind := ioctls[cmd]
	if kind == 0 {
		return 0, syscall.ENOTTY
	}
	if kind == ioctlSet && n.tree.opts.WritebackCache && n.writers.Load() > 0 {
		// The inode may take no data any more when it is immutable (ext4).
		n.writeBack(0)
	}
	// As much as the largest of them moves, whatever the request brought.
	var arg [64]byte
	copy(arg[:], input)
	c := callerOf(ctx)
	errno = n.tree.block(func() syscall.Errno {
		call := func() syscall.Errno {
			r, _, errno := syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(cmd), uintptr(unsafe.Pointer(&arg[0])))
			result = int32(r)
			return errno
		}
		if kind == ioctlSet {
			return n.tree.id.run(c, withGroups, call)
		}
		return call()
	})
	if errno != 0 {
		return 0, errno
	}
	copy(output, arg[:])
	return result, 0
}
