package main

import (
	"errors"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/option"
	"github.com/uringfs/uringfs/mount"
	"github.com/uringfs/uringfs/reactor"
)

// The exit codes. They are never given a new meaning. The manual page has the
// same list, which a test compares.
const (
	exitOK          = 0  // done; of a mount: unmounted, and nobody was cut off
	exitUsage       = 1  // wrong arguments or options
	exitFailure     = 2  // a failure that has no code of its own
	exitInterrupted = 3  // stopped by a signal before the mount was up
	exitSource      = 10 // SOURCE is missing or not a directory
	exitMountpoint  = 11 // MOUNTPOINT is missing, not a directory or not empty
	exitStale       = 12 // MOUNTPOINT is a mount whose daemon is gone
	exitDeadlock    = 13 // SOURCE contains MOUNTPOINT
	exitPrivilege   = 14 // this user may not mount so on this host
	exitRing        = 15 // io_uring is not available
	exitTransport   = 16 // the transport asked for is not available
	exitAborted     = 20 // unmounted, but users of the mount were cut off
	exitBusy        = 21 // umount: the mount is busy
	exitNotOurs     = 22 // umount, stats: no uringfs mount is there
	exitUnfit       = 30 // doctor: something that a mount needs is missing

	// mount(8) knows one code for everything that keeps a mount from coming
	// about. Its helpers return that.
	helperMountFailed = 32
)

// A failure is an error with an exit code and, perhaps, a hint.
type failure struct {
	code int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }
func (f *failure) Hint() string  { return f.hint }

// errAborted is how a mount ends that had to cut its users off.
var errAborted = &failure{code: exitAborted, err: errors.New("users of the mount were cut off")}

// exitCode is the code that err ends the program with.
func exitCode(err error) int {
	var f *failure
	if errors.As(err, &f) {
		return f.code
	}
	var ring *reactor.SetupError
	if errors.As(err, &ring) {
		return exitRing
	}
	if option.IsError(err) {
		return exitUsage
	}
	for _, c := range []struct {
		kind error
		code int
	}{
		{mount.ErrOption, exitUsage},
		{mount.ErrSource, exitSource},
		{mount.ErrMountpoint, exitMountpoint},
		{mount.ErrStale, exitStale},
		{mount.ErrDeadlock, exitDeadlock},
		{mount.ErrPrivilege, exitPrivilege},
		{mount.ErrTransport, exitTransport},
		{mount.ErrNotOurs, exitNotOurs},
	} {
		if errors.Is(err, c.kind) {
			return c.code
		}
	}
	return exitFailure
}

// helperExitCode translates a code for mount(8).
func helperExitCode(code int) int {
	if code == exitUsage || code == exitOK {
		return code
	}
	return helperMountFailed
}
