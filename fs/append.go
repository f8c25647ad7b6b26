package fs

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// switchAppend makes the backing descriptor fd append or not. Which of the two a
// write needs is the caller's to say, each time: fcntl(2) may have changed the
// caller's file, and pages written through a mapping have their place.
func switchAppend(fd int, on bool) syscall.Errno {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return toErrno(err)
	}
	flags &^= syscall.O_APPEND
	if on {
		flags |= syscall.O_APPEND
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags)
	return toErrno(err)
}
