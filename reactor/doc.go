// Package reactor does file I/O through io_uring.
//
// For most uses, take [Read], [Write], [ReadAt] and [WriteAt], which work like
// their namesakes in the standard library on a reactor that is made on first
// use, or [New] a [Reactor] of your own and [Reactor.Open] files in it.
//
// # Ownership
//
// From the moment an operation is handed over until its completion is reaped,
// its buffer and its file descriptor belong to the kernel. No call that takes a
// caller's buffer returns before that, whatever becomes of its context: what may
// have to be answered earlier (a deadline, a hung backing) runs in a buffer of
// the reactor's own, and a caller that gives up leaves it there.
//
// The package knows descriptors, bytes and completions. It does not log: it
// returns errors and keeps [Stats].
package reactor
