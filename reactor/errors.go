package reactor

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
)

// ErrClosed is what operations on a closed [Reactor], [File] or [Executor] fail with.
var ErrClosed = errors.New("reactor: closed")

// OpError is a failed operation. It wraps its [syscall.Errno].
type OpError struct {
	Op   string // "read", "write", "fsync", …
	Path string // of OpOpenat and OpStatx
	FD   int    // as in Op, so that Path may be relative to it
	Off  int64  // byte offset, or AtPosition; 0 for what knows none
	Err  error
}

func newOpError(op *Op, err error) *OpError {
	return &OpError{Op: op.Code.String(), Path: op.Path, FD: op.FD, Off: op.Off, Err: err}
}

func (e *OpError) Error() string {
	switch {
	case e.Path != "":
		return fmt.Sprintf("%s %q: %v", e.Op, e.Path, e.Err)
	case e.Off > 0:
		return fmt.Sprintf("%s fd %d at %d: %v", e.Op, e.FD, e.Off, e.Err)
	}
	return fmt.Sprintf("%s fd %d: %v", e.Op, e.FD, e.Err)
}

func (e *OpError) Unwrap() error { return e.Err }

// SetupError says why this host gives no usable io_uring, and what to do about it.
type SetupError struct {
	Step string // the call that failed
	Err  error
	Hint string // the remedy, one clause without a full stop
}

func (e *SetupError) Error() string { return fmt.Sprintf("%s: %v", e.Step, e.Err) }

func (e *SetupError) Unwrap() error { return e.Err }

// newSetupError finds out what stands behind an errno of ring set-up: the same
// EPERM comes from a sysctl and from a seccomp filter (io_uring_setup(2)).
func newSetupError(step string, err error) *SetupError {
	var errno syscall.Errno
	errors.As(err, &errno)
	e := &SetupError{Step: step, Err: err}
	if errno != 0 {
		e.Err = errno
	}
	switch errno {
	case syscall.ENOSYS, syscall.EINVAL:
		e.Hint = "io_uring needs Linux 5.11 or newer with CONFIG_IO_URING"
	case syscall.EPERM, syscall.EACCES:
		switch disabled := sysctl("kernel/io_uring_disabled"); disabled {
		case "1", "2":
			e.Hint = "kernel.io_uring_disabled=" + disabled + " forbids it; set it to 0 (sysctl -w kernel.io_uring_disabled=0)"
			if disabled == "1" {
				e.Hint += ", or run as root or in the group of kernel.io_uring_group"
			}
		default:
			e.Hint = "a seccomp filter denies io_uring, as the default profiles of Docker and containerd do; allow io_uring_setup, io_uring_enter and io_uring_register"
		}
	case syscall.ENOMEM:
		e.Hint = "the memory for rings was refused; raise RLIMIT_MEMLOCK (ulimit -l) or the memory cgroup's limit"
	case syscall.EMFILE, syscall.ENFILE:
		e.Hint = "no file descriptor was left; raise RLIMIT_NOFILE (ulimit -n)"
	}
	return e
}

// sysctl is the value of /proc/sys/name, "" if there is none.
func sysctl(name string) string {
	b, err := os.ReadFile("/proc/sys/" + name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// keepAlive keeps what a uintptr in an SQE or a system call points to.
func keepAlive(x any) { runtime.KeepAlive(x) }
