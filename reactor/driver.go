package reactor

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	sys "github.com/iceber/iouring-go/syscall"
)

// cancelTag marks the completion of an ASYNC_CANCEL, which concerns nobody: the
// cancelled operation has a completion of its own. No slot has this index.
const cancelTag = uint64(1)<<32 - 1

// driver couples a queue with the slots of the operations in it. Who calls
// drive differs: callers themselves for the rings of a Reactor, a thread for a
// lane or an Executor.
//
// Lock order: the submission side (take/release), then mu.
type driver struct {
	// kick sees to it that the driver is driven soon. It is called without
	// locks after the backlog or the cancel list was filled.
	kick func(*driver)

	// onTag is called under mu for completions of the owner's own entries,
	// which carry a tag instead of a slot. It reports whether it is of one.
	onTag func(completion) bool

	// live: something was left in flight by an owner that went away. It is for
	// those who only want to know whether to look.
	live atomic.Bool

	// busy is 1 while somebody owns the submission side, which may be across
	// enter. Nobody waits for that: who does not get it sets work, and the
	// owner looks there after giving it up.
	busy atomic.Uint32
	work atomic.Bool

	// own is the call of the submission side's owner, who needs one of its own
	// only if it has to park.
	own call

	// blocking counts the operations in flight that are on blocking backings.
	// room, if not nil, has let them in beside the limits; see [Workers].
	blocking atomic.Int32
	room     *Limits

	// shut: closing, broken or unmapped, so that nothing may go the short way.
	shut atomic.Bool

	// The owner's, who needs no mu to read them. spare is the slot for what
	// goes the short way, and not in the free list; see express.
	spare     *slot
	reaped    int // completions
	expressed expressCounts

	q    queue
	user uint16 // personality of unprivileged operations, 0 if there is none

	// mu guards everything below and the slots. It is never held across a
	// system call that can wait. Both sides of q belong to who owns the submission side.
	mu       sync.Mutex
	slots    []*slot
	free     *slot
	seq      uint64 // operations ever added
	inFlight int    // slots not free
	held     int    // of these, detached: their caller is gone
	backlog  slotList
	filled   []uint64      // user data of what is in the submission queue, oldest first
	cancels  []uint64      // user data of operations to cancel
	woken    []wakeup      // to be told once mu is released
	notify   bool          // the ring's eventfd is on
	closing  bool          // nothing new is taken
	unmapped bool          // q is gone
	drained  chan struct{} // closed by drive when closing and nothing is in flight
	empty    bool          // it is closed
	broken   syscall.Errno // why the ring takes nothing more
	counts   counts
}

// counts are what a driver has done, in operations.
type counts struct {
	submitted, completed, resubmitted, cancelled, expired, spurious uint64
	bytesRead, bytesWritten                                         uint64
}

func newDriver(q queue) *driver {
	q.notify(false)
	d := &driver{q: q, drained: make(chan struct{})}
	if r, ok := q.(*ring); ok {
		d.user = r.user
	}
	d.spare = d.newSlot()
	return d
}

// add puts an operation into the backlog and returns its slot. The caller holds
// mu; the operation's end gives back what in says, which may be nil.
func (d *driver) add(op *Op, w Waker, f *File, buf *buffer, in *admission) *slot {
	s := d.free
	if s == nil {
		s = d.newSlot()
	} else {
		d.free = s.next
	}
	d.occupy(s, op, w, f, buf, in)
	s.state = slotQueued
	d.backlog.push(s)
	return s
}

// newSlot makes a slot. The caller holds mu.
func (d *driver) newSlot() *slot {
	s := &slot{index: uint32(len(d.slots))}
	d.slots = append(d.slots, s)
	return s
}

// occupy puts an operation into a free slot. The caller holds mu and sets the
// slot's state.
func (d *driver) occupy(s *slot, op *Op, w Waker, f *File, buf *buffer, in *admission) {
	d.seq++
	s.seq, s.end, s.done, s.retry = d.seq, endNone, 0, 0
	s.op, s.waker, s.file, s.buf, s.in = *op, w, f, buf, in
	if s.async = in != nil && in.blocking; s.async && d.room == nil {
		d.blocking.Add(1) // else they are counted before
	}
	s.detachable = buf != nil || !op.transfers()
	d.inFlight++
}

func (d *driver) id(s *slot) EventID { return EventID{d, s.index, s.seq} }

// find is the slot of an operation that has not ended, or nil. The caller holds mu.
func (d *driver) find(id EventID) *slot {
	if s := d.slots[id.index]; s.state != slotFree && s.seq == id.seq {
		return s
	}
	return nil
}

// take gets the submission side if it is free.
func (d *driver) take() bool { return d.busy.Load() == 0 && d.busy.CompareAndSwap(0, 1) }

// drive submits the backlog and reaps until nothing is left to submit. The
// caller owns the submission side and holds mu, which drive releases. If c, the
// caller's call or nil, is not over then, drive returns it parked; in place of
// the driver's own it parks another.
func (d *driver) drive(c *call) (parked *call) {
	if d.unmapped {
		d.work.Store(false)
		d.mu.Unlock()
		return nil
	}
	d.mute()
	for tries := 0; ; {
		d.reap()
		d.fill()
		queued := d.q.queued()
		if queued == 0 && !d.overflown() {
			d.settle()
		}
		// Asked again after settle: what overflowed before the eventfd was on
		// was not signalled either.
		if queued == 0 && !d.overflown() {
			if c != nil && !c.done {
				parked = d.park(c)
			}
			if d.closing && d.inFlight == 0 && !d.empty {
				d.empty = true
				close(d.drained)
			}
			d.unlockAndWake()
			return parked
		}
		d.unlockAndWake()
		if queued == 0 {
			if errno := d.q.flush(); errno != 0 {
				tries = d.failed(errno, tries)
			}
			d.mu.Lock()
			continue
		}
		n, errno := d.q.enter(0, 0)
		if errno != 0 || n == 0 {
			tries = d.failed(errno, tries)
		} else {
			tries = 0
		}
		d.mu.Lock()
		d.consume(n)
	}
}

// overflown reports whether completions can be moved into the queue. The caller
// owns the submission side and holds mu.
func (d *driver) overflown() bool { return d.q.needsFlush() && d.broken == 0 }

// park leaves the operation of c to whoever reaps it. The caller owns the
// submission side and holds mu.
func (d *driver) park(c *call) *call {
	if c == &d.own {
		c = newCall()
		c.slot, d.own.slot = d.own.slot, nil
		c.slot.waker = c
	}
	c.parked = true
	d.arm(c.slot)
	return c
}

// settle arms the eventfd if something is left in flight. After arming it looks
// once more: a completion that came before is not signalled. The caller holds mu.
func (d *driver) settle() {
	if on := d.inFlight > 0; on != d.notify {
		d.notify = on
		if on {
			d.live.Store(true)
		}
		d.q.notify(on)
		if on {
			d.reap()
		}
	}
}

// mute switches the eventfd off while somebody is there to reap. The caller holds mu.
func (d *driver) mute() {
	if d.notify {
		d.notify = false
		d.q.notify(false)
	}
}

// fill moves the backlog and the cancels into the submission queue as far as
// there is room. The caller owns the submission side and holds mu.
func (d *driver) fill() {
	if d.work.Load() { // a store costs more
		d.work.Store(false)
	}
	if d.broken != 0 {
		d.giveUp()
		return
	}
	for len(d.cancels) > 0 {
		e := d.q.next()
		if e == nil {
			return
		}
		e.PrepOperation(sys.IORING_OP_ASYNC_CANCEL, -1, d.cancels[0], 0, 0)
		e.SetUserData(cancelTag)
		d.cancels = d.cancels[1:]
		d.filled = append(d.filled, cancelTag)
	}
	for d.backlog.head != nil {
		e := d.q.next()
		if e == nil {
			return
		}
		s := d.backlog.pop()
		s.state = slotInFlight
		d.send(s, e)
		d.counts.submitted++
	}
}

// giveUp ends, with the reason, all that a broken ring has not taken, so that it
// never runs. What the kernel has is awaited as ever. The caller owns the
// submission side and holds mu.
func (d *driver) giveUp() {
	d.cancels = d.cancels[:0]
	d.q.discard()
	for _, userData := range d.filled {
		d.complete(completion{userData: userData, res: -int32(d.broken)})
	}
	d.filled = d.filled[:0]
	for s := d.backlog.pop(); s != nil; s = d.backlog.pop() {
		d.finish(s, s.done, d.broken)
	}
}

// send puts the operation in s into the submission queue, of which it has entry e.
// The caller owns the submission side and holds mu.
func (d *driver) send(s *slot, e *sqe) {
	s.gen++
	s.prepare(e)
	if s.op.Unprivileged {
		e.SetPersonality(d.user)
	}
	e.SetUserData(s.userData())
	d.filled = append(d.filled, s.userData())
}

// maxEnterDelay bounds the pause between attempts of an enter that the kernel
// refuses for want of memory.
const maxEnterDelay = time.Millisecond

// failed handles an enter that took nothing, by the errors that
// io_uring_enter(2) lists, and returns the number of failures in a row. The
// manual does without ENOMEM: a thread's first enter of a ring allocates
// (io_uring_add_tctx_node).
func (d *driver) failed(errno syscall.Errno, tries int) int {
	switch errno {
	case syscall.EINTR, syscall.ETIME:
		return tries // a signal, or the end of a wait
	case 0, syscall.EAGAIN, syscall.ENOMEM: // no memory just now
	case syscall.EBUSY, syscall.EBADR:
		// Completions wait for room in the completion queue (EBADR: some were
		// dropped, which FEAT_NODROP excludes): let the kernel move them in.
		d.q.flush()
	default:
		// EBADF, EBADFD, EEXIST, EFAULT, EINVAL, ENXIO, EOPNOTSUPP,
		// EOWNERDEAD: the ring is not usable. The next fill gives up.
		d.mu.Lock()
		d.broken = errno
		d.shut.Store(true)
		d.mu.Unlock()
		return 0
	}
	if tries > 3 {
		time.Sleep(min(time.Microsecond<<min(tries, 10), maxEnterDelay))
	}
	return tries + 1
}

// consume forgets the n oldest entries of the submission queue, which the
// kernel has taken. The caller holds mu.
func (d *driver) consume(n int) {
	if 0 < n && n < len(d.filled) {
		d.sever(d.filled[n-1])
	}
	d.filled = d.filled[:copy(d.filled, d.filled[n:])]
}

// unmap gives the ring back. The caller owns the submission side, and nothing
// is in flight.
func (d *driver) unmap() error {
	d.mu.Lock()
	d.unmapped = true
	d.shut.Store(true)
	d.mu.Unlock()
	return d.q.close()
}
