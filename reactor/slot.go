package reactor

import (
	"context"
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// EventID names an operation. It is never used twice, so that a late cancel
// cannot hit a stranger.
type EventID struct {
	driver *driver
	index  uint32 // of its slot
	seq    uint64 // the how-manieth operation of the driver it is
}

// Event is the outcome of an operation.
type Event struct {
	ID EventID
	// N is what the operation returned: bytes for reads and writes (also when
	// Err is set: those moved before it), a descriptor for OpOpenat, else 0.
	N int
	// Err is nil or a syscall.Errno: ETIMEDOUT for an operation whose time
	// ran out, EINTR for one that was cancelled.
	Err error

	// buf is the reactor's buffer the operation ran in; it belongs to the waker now.
	buf *buffer
}

// A Waker is told of the end of an operation, exactly once. Wake runs on
// whatever goroutine reaped the completion, possibly before Register has
// returned: it must not block and must not call the reactor.
type Waker interface {
	Wake(Event)
}

type slotState uint8

const (
	slotFree     slotState = iota
	slotQueued             // in the backlog, the kernel knows nothing of it
	slotInFlight           // in the submission queue or with the kernel
)

type endReason uint8

const (
	endNone     endReason = iota
	endCancel             // the caller gave up: EINTR
	endDeadline           // its time ran out: ETIMEDOUT
)

// endReasonOf says why who waits within ctx, which has ended, gives up.
func endReasonOf(ctx context.Context) endReason {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return endDeadline
	}
	return endCancel
}

func (e endReason) errno() syscall.Errno {
	if e == endDeadline {
		return syscall.ETIMEDOUT
	}
	return syscall.EINTR
}

// slot holds an operation from submission to its last completion. All fields
// are guarded by the driver's mutex, but for what the kernel writes.
type slot struct {
	index uint32
	seq   uint64 // of its operation; see EventID
	gen   uint32 // of its last submission, so that a late completion finds nobody
	state slotState
	end   endReason
	async bool // IOSQE_ASYNC: hand to io-wq at once
	op    Op
	done  int // bytes moved so far
	waker Waker

	// buf is the reactor's buffer that op.Buf lies in, nil where the buffer
	// is the caller's. Only an operation without a caller's memory can be
	// answered before its completion (detached: waker is nil then).
	buf        *buffer
	detachable bool

	file *File      // pinned until the end, nil for a bare descriptor
	in   *admission // nil where none was asked for

	// For transfers that a command follows, which have a slot of their own.
	command *Command   // whose slot it is, nil for all others
	follow  *Following // what is behind the transfer
	severed bool       // it is not any more

	deadline time.Time     // when rouse is due, zero: never
	timer    *time.Timer   // for deadline; made on first use
	retry    time.Duration // until the next cancel

	iovs  []unix.Iovec
	aside []byte        // see setAside; until the transfer is over
	path  []byte        // of openat and statx, ends with NUL
	stat  *unix.Statx_t // what the kernel fills; made on first use
	next  *slot         // in the free list or the backlog
}

func (s *slot) userData() uint64 { return uint64(s.gen)<<32 | uint64(s.index) }

// verdict is what a completion means for its operation.
type verdict uint8

const (
	ended    verdict = iota // the event is final
	resubmit                // go on with what is left
)

// advance applies a completion with result res to the operation.
func (s *slot) advance(res int32) (v verdict, n int, errno syscall.Errno) {
	if res < 0 {
		errno = syscall.Errno(-res)
		switch errno {
		case syscall.EINTR, syscall.ECANCELED:
			// Without our asking: a backing that gave up on a signal (FUSE),
			// or the kernel cancelled what an exiting thread had submitted.
			if s.end == endNone {
				return resubmit, 0, 0
			}
			errno = s.end.errno()
		case syscall.EAGAIN:
			// On a regular file it never means "would block": a backing could
			// not do it inline. Only a non-blocking descriptor gets that for
			// an answer, unless it was us who made it so.
			if !s.op.transfers() {
				break
			}
			if s.end != endNone {
				errno = s.end.errno()
				break
			}
			if s.file != nil && s.file.nonblock.Load() {
				s.file.setNonblock(false)
				return resubmit, 0, 0
			}
			if !s.async {
				s.async = true
				return resubmit, 0, 0
			}
		}
		return ended, s.done, errno
	}
	if !s.op.transfers() {
		return ended, int(res), 0
	}
	s.done += int(res)
	left := s.op.size() - s.done
	switch {
	case left == 0, s.op.Off == AtPosition && !s.op.writes(): // a pipe may have no more for long
		return ended, s.done, 0
	case res == 0 && s.op.writes():
		return ended, s.done, syscall.EIO // no progress and no reason
	case res == 0:
		return ended, s.done, 0 // end of file
	case s.end != endNone:
		return ended, s.done, s.end.errno()
	}
	return resubmit, 0, 0
}

// slotList is a FIFO of slots.
type slotList struct{ head, tail *slot }

func (l *slotList) push(s *slot) {
	s.next = nil
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.next = s
	}
	l.tail = s
}

func (l *slotList) pop() *slot {
	s := l.head
	if s == nil {
		return nil
	}
	l.head = s.next
	if l.head == nil {
		l.tail = nil
	}
	s.next = nil
	return s
}

// remove takes s out of the list; it reports whether it was there.
func (l *slotList) remove(s *slot) bool {
	var prev *slot
	for at := l.head; at != nil; prev, at = at, at.next {
		if at != s {
			continue
		}
		if prev == nil {
			l.head = s.next
		} else {
			prev.next = s.next
		}
		if l.tail == s {
			l.tail = prev
		}
		s.next = nil
		return true
	}
	return false
}
