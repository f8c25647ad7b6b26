// Package overuring moves the requests of a FUSE connection over io_uring
// (FUSE-over-io_uring, Linux 6.14): they arrive as completions and their
// replies leave as submissions, in shared buffers, one queue for each CPU.
//
// For most uses, take package mount, which chooses this transport where the
// kernel offers it.
//
// Each online CPU has a [reactor.Executor] pinned to it, and each request is a
// task there: what the node tree reads and writes through the reactor is
// submitted to the ring the requests came from, straight from and into the
// request's buffer, and goes out together with the replies of others. The task
// then waits without holding the thread. On a backing that blocks the ring's
// kernel workers carry it, a bounded number for all queues together.
//
// # What a node tree must not do
//
// It must not hold a lock across a call of the reactor if another request may
// want that lock: both may be tasks of one thread. And what may block otherwise
// belongs into [reactor.Reactor.Block]: it holds up every request of its CPU.
//
// go-fuse's own node API has one such wait: the end of a file handle waits for
// GETATTRs that were lent it. A tree whose Getattr calls the reactor must run
// Release and ReleaseDir of its RawFileSystem in Block, as package fs does.
//
// /dev/fuse is read beside the rings: FORGET and INTERRUPT come there, and
// notifications are written there.
package overuring
