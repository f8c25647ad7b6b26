package fs

import "context"

// IO is what the tree asks for file data. It is implemented by the io_uring
// reactor and, for hosts that forbid io_uring, by a pool of blocking calls.
//
// Errors are, or wrap, a syscall.Errno. All methods are safe for concurrent use.
type IO interface {
	// Open puts an open file descriptor under the care of the IO, which owns
	// fd from then on, also when Open fails. Close of the File closes fd.
	Open(fd int) (File, error)

	// Block runs fn, which may block on the backing filesystem, in such a
	// way that a request served by another caller does not wait for it. It
	// returns when fn has returned. On an ordinary goroutine fn simply runs.
	// fn must restore whatever it changes of its thread (credentials, cwd).
	Block(fn func())

	// Wait runs fn, which waits until other requests have been served, and
	// returns when fn has returned. Unlike Block it has no bound: a bound full
	// of those who wait would keep out those they wait for.
	Wait(fn func())
}

// File is one open backing file of an [IO].
//
// p belongs to the File from the call until it returns, and not longer: a call
// whose ctx ends early returns only when the kernel is done with p. Only a server
// that arranges for it (reactor.Task.Follow) gets p back later; what has to last
// until then goes through reactor.Finally.
type File interface {
	// ReadAt fills p from byte offset off. It continues short transfers, so
	// n < len(p) with a nil error means end of file.
	ReadAt(ctx context.Context, p []byte, off int64) (n int, err error)

	// WriteAt writes p at byte offset off (at the end if the descriptor has
	// O_APPEND). It continues short transfers: n < len(p) only with an error.
	WriteAt(ctx context.Context, p []byte, off int64) (n int, err error)

	// Fsync flushes the file, or with datasync what is needed to read its
	// data back (fdatasync(2)).
	Fsync(ctx context.Context, datasync bool) error

	// Fallocate is fallocate(2) with its FALLOC_FL_* mode; off and length
	// are in bytes.
	Fallocate(ctx context.Context, mode uint32, off, length int64) error

	// Fd is the descriptor, valid until Close. The caller must not close it.
	Fd() int

	// Close closes the descriptor when the last operation on it has ended.
	Close() error
}
