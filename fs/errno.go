package fs

import (
	"context"
	"errors"
	"syscall"
)

// toErrno is the one place where an error becomes the errno of a reply:
// nil→0, an Errno→itself, cancelled→EINTR, out of time→ETIMEDOUT, the rest→EIO.
//
// ENOSYS becomes EOPNOTSUPP: the kernel takes ENOSYS for "never ask again" and
// remembers it for the whole mount (fs/fuse/dir.c, fs/fuse/file.c).
func toErrno(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	errno, ok := err.(syscall.Errno)
	if !ok && !errors.As(err, &errno) {
		switch {
		case errors.Is(err, context.Canceled):
			return syscall.EINTR
		case errors.Is(err, context.DeadlineExceeded):
			return syscall.ETIMEDOUT
		}
		return syscall.EIO
	}
	if errno == syscall.ENOSYS {
		return syscall.EOPNOTSUPP
	}
	return errno
}
