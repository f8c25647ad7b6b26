package reactor

import (
	"syscall"
	"time"

	sys "github.com/iceber/iouring-go/syscall"
)

// sqe is the first 64 bytes of a submission queue entry, which all layouts share.
type sqe = sys.SubmissionQueueEntry64

// completion is a CQE, copied out of the ring.
type completion struct {
	userData uint64
	res      int32
	flags    uint32
}

// queue is a ring as the rest of the package sees it: [ring] is the kernel's,
// tests have one that fails in every way a kernel might. [ringConfig.open] makes
// it, and nothing is registered any more once it was enabled.
//
// The submission side (next, enter) and the completion side (peek, overflowed)
// may each be used by one goroutine at a time; the two sides are independent.
type queue interface {
	// registerEventfd makes the queue signal efd for each completion while
	// notify is on.
	registerEventfd(efd int) error

	// registerFiles makes fds usable as fixed files by their index.
	registerFiles(fds []int32) error

	// enable starts a queue that was made with cfg.
	enable(cfg ringConfig) error

	// next returns a zeroed entry that the following enter submits, or nil
	// when the submission queue is full.
	next() *sqe

	// command is the 80-byte command area of e (IORING_OP_URING_CMD). It
	// panics unless the ring was made with 128-byte entries.
	command(e *sqe) *[80]byte

	// enter submits every entry taken from next and waits for at least wait
	// completions, at most timeout if that is positive. It returns how many
	// entries the kernel took; those it did not take stay queued. ETIME
	// means that the timeout ended the wait. If needsFlush it does what
	// flush does on the way.
	enter(wait uint32, timeout time.Duration) (int, syscall.Errno)

	// flush moves completions that did not fit into the completion queue,
	// and those waiting for task work, into it.
	flush() syscall.Errno

	// queued is the number of entries taken from next and not yet by the kernel.
	queued() uint32

	// discard takes the entries that the kernel did not take out of the
	// submission queue, so that they never run.
	discard()

	// peek takes the oldest completion out of the queue.
	peek() (completion, bool)

	// needsFlush reports whether completions wait outside the queue.
	needsFlush() bool

	// notify switches the signalling of the ring's eventfd.
	notify(on bool)

	close() error
}
