// Package reactor does file I/O through io_uring.
//
// For most uses, take [Read], [Write], [ReadAt] and [WriteAt], which work like
// read(2), write(2) and their kin on a reactor that is made on first use:
//
//	file, err := os.Open(name)
//	p := make([]byte, 4096)
//	n, err := reactor.Read(int(file.Fd()), p)
//
// or [New] a [Reactor] of your own and [Reactor.OpenFile] files in it.
//
// There are three ways to wait for many operations: goroutines that call
// [File.ReadAt] and its kin; one goroutine with a [Future] for each operation
// ([File.SubmitRead], [Reactor.Submit]), or with a [Waker] ([Reactor.Register]);
// and the tasks of an [Executor], which share one thread and one ring and are the
// fastest where many operations are in flight.
//
// # Ownership
//
// From the moment an operation is handed over until its completion is reaped,
// its buffer and its file descriptor belong to the kernel. No call that takes a
// caller's buffer returns before that, whatever becomes of its context: what may
// have to be answered earlier (a deadline, a hung backing) runs in a buffer of
// the reactor's own, and a caller that gives up leaves it there.
//
// # Results
//
// Failures are *[OpError] around a [syscall.Errno], or [ErrClosed]. An operation
// that was cancelled fails with EINTR, one whose time ran out with ETIMEDOUT; if
// it completes all the same, that is its result. Short transfers are continued,
// but for reads at a file's own position ([AtPosition]).
//
// # Bounds
//
// [Limits] bounds what is in flight, [Config.Workers] the kernel threads behind
// backings that block ([ClassBlocking]), and [Workers] those that executors have
// for them. At a bound callers wait; nothing fails and nothing grows.
//
// The package knows descriptors, bytes and completions. It does not log: it
// returns errors and keeps [Stats].
package reactor
