package mount

import "errors"

// Kinds of failure, for errors.Is.
var (
	// ErrSource: the source is missing or is not a directory.
	ErrSource = errors.New("bad source")
	// ErrMountpoint: the mountpoint is missing, not a directory or not empty.
	ErrMountpoint = errors.New("bad mountpoint")
	// ErrStale: the mountpoint carries a mount whose daemon is gone.
	ErrStale = errors.New("stale mountpoint")
	// ErrDeadlock: serving the source at the mountpoint would make the daemon
	// wait for itself.
	ErrDeadlock = errors.New("source contains the mountpoint")
	// ErrOption: options that are out of range or exclude each other.
	ErrOption = errors.New("bad option")
	// ErrPrivilege: the host does not let this user mount so.
	ErrPrivilege = errors.New("not permitted")
	// ErrTransport: the transport that was asked for cannot be had.
	ErrTransport = errors.New("transport not available")
	// ErrNotOurs: there is no uringfs mount at the path.
	ErrNotOurs = errors.New("not a uringfs mount")
)

// An Error says what went wrong and, when there is something to do about it,
// what. It unwraps to its kind (one of the Err variables) and to its cause.
type Error struct {
	kind  error
	msg   string
	hint  string
	cause error
}

func (e *Error) Error() string {
	if e.cause != nil {
		return e.msg + ": " + e.cause.Error()
	}
	return e.msg
}

// Hint is a sentence that says what the user can do.
func (e *Error) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	return kindHints[e.kind]
}

// kindHints are for errors that know nothing better.
var kindHints = map[error]string{
	ErrSource:     "the arguments are SOURCE MOUNTPOINT: two directories, in this order",
	ErrMountpoint: "name a directory of your own that exists and is empty",
	ErrStale:      "unmount it: umount -l MOUNTPOINT",
	ErrDeadlock:   "choose a mountpoint outside the source",
	ErrOption:     "leave it out",
	ErrPrivilege:  "\"uringfs doctor\" says what this host permits",
	ErrTransport:  "use transport=auto or transport=dev",
	ErrNotOurs:    "findmnt -t fuse.uringfs lists the mounts of uringfs",
}

// Unwrap makes errors.Is find the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.cause}
}
