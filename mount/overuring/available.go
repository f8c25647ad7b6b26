package overuring

import (
	"errors"
	"os"
	"strings"
)

// parameterPath is the switch of the whole host, off by default.
const parameterPath = "/sys/module/fuse/parameters/enable_uring"

// UnavailableError says why there is no FUSE-over-io_uring, and the remedy.
type UnavailableError struct {
	Reason string
	Remedy string // one clause without a full stop, or ""
	Err    error  // or nil
}

func (e *UnavailableError) Error() string {
	if e.Err != nil {
		return e.Reason + ": " + e.Err.Error()
	}
	return e.Reason
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// Hint is the remedy.
func (e *UnavailableError) Hint() string { return e.Remedy }

// Available says whether the kernel offers FUSE-over-io_uring: nil, or an
// *UnavailableError.
func Available() error {
	value, err := os.ReadFile(parameterPath)
	if errors.Is(err, os.ErrNotExist) {
		e := &UnavailableError{Reason: "this kernel has no FUSE-over-io_uring",
			Remedy: "it takes Linux 6.14 or newer with CONFIG_FUSE_IO_URING"}
		if _, err := os.Stat("/sys/module/fuse"); err != nil {
			e.Remedy = "load the module (modprobe fuse); " + e.Remedy
		}
		return e
	}
	if err != nil {
		return &UnavailableError{Reason: "cannot tell whether the kernel offers FUSE-over-io_uring", Err: err}
	}
	if v := strings.TrimSpace(string(value)); v != "Y" && v != "1" {
		return &UnavailableError{Reason: "FUSE-over-io_uring is switched off on this host",
			Remedy: "let root switch it on: echo Y > " + parameterPath}
	}
	return nil
}
