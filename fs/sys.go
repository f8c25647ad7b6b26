package fs

import (
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// emptyPath is the "" of AT_EMPTY_PATH calls.
var emptyPath [1]byte

// statxMask is what a node's attributes and its identity are made of.
const statxMask = unix.STATX_BASIC_STATS | unix.STATX_BTIME

// statxFd is statx(2) on the inode fd refers to, O_PATH descriptors included.
// It is the hot call of Lookup and Getattr and allocates nothing.
func statxFd(fd int, mask int, st *unix.Statx_t) syscall.Errno {
	for {
		_, _, errno := syscall.Syscall6(unix.SYS_STATX, uintptr(fd),
			uintptr(unsafe.Pointer(&emptyPath[0])),
			unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW, uintptr(mask),
			uintptr(unsafe.Pointer(st)), 0)
		if errno != syscall.EINTR {
			return errno
		}
	}
}

// openat is openat(2), restarted when a signal interrupts it (Go preempts with
// signals, and a slow backing lets them through).
func openat(dirfd int, name string, flags int, mode uint32) (int, syscall.Errno) {
	for {
		fd, err := unix.Openat(dirfd, name, flags|unix.O_CLOEXEC, mode)
		if err == nil {
			return fd, 0
		}
		if err != syscall.EINTR {
			return -1, toErrno(err)
		}
	}
}

// openPath opens name in dirfd, whatever it is, as an O_PATH descriptor.
func openPath(dirfd int, name string) (int, syscall.Errno) {
	return openat(dirfd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

// resolveCached is RESOLVE_CACHED, which x/sys v0.44 lacks.
const resolveCached = 0x20

// openPathCached is openPath that answers EAGAIN where it would have to wait
// for the backing (RESOLVE_CACHED, Linux 5.12). It allocates nothing.
func openPathCached(dirfd int, name string) (int, syscall.Errno) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: resolveCached,
	}
	var buf nameBuf
	if !buf.set(name) {
		return -1, syscall.EAGAIN // let openPath have the backing's answer
	}
	fd, _, errno := syscall.Syscall6(unix.SYS_OPENAT2, uintptr(dirfd), uintptr(unsafe.Pointer(&buf[0])),
		uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how), 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), 0
}

// statxAt is statx(2) on a name in a directory, symlinks not followed.
func statxAt(dirfd int, name string, mask int, st *unix.Statx_t) syscall.Errno {
	var buf nameBuf
	if !buf.set(name) {
		return syscall.ENAMETOOLONG
	}
	_, _, errno := syscall.Syscall6(unix.SYS_STATX, uintptr(dirfd), uintptr(unsafe.Pointer(&buf[0])),
		unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, uintptr(mask), uintptr(unsafe.Pointer(st)), 0)
	return errno
}

// nameBuf is a file name as the kernel wants it, on the stack.
type nameBuf [unix.NAME_MAX + 1]byte

// set reports whether name fits. FUSE sends names of up to 1024 bytes.
func (b *nameBuf) set(name string) bool {
	if len(name) >= len(b) {
		return false
	}
	copy(b[:], name)
	return true
}

// procName is the name of fd below /proc/self/fd, for calls that do not take
// an O_PATH descriptor. The link leads to the very inode, be it a symlink,
// renamed or unlinked.
func procName(fd int) string { return strconv.Itoa(fd) }

// procPath is procName as a path, for calls that take no directory descriptor.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
