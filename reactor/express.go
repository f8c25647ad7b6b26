package reactor

import (
	"context"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Most transfers find an idle ring and end inside io_uring_enter. They need no
// slot, no lock and no waker then, which saves half of what a transfer costs
// beside the system call. Everything else, from a short read to a completion
// that does not come at once, is enlisted: it gets the slot that was kept ready
// for it and goes on as if it had come the long way.

// expressCounts packs what went the short way: operations above packShift and
// bytes below, so that one atomic addition counts both.
type expressCounts struct{ reads, writes atomic.Uint64 }

const (
	packShift = 40      // bytes up to 1 TiB
	packFlush = 1 << 39 // bytes, and 2^23 operations, from which on they are moved to counts
)

// idle reports whether nothing but what the caller brings is to be done here.
// The caller owns the submission side.
func (d *driver) idle() bool {
	return !d.live.Load() && !d.work.Load() && !d.shut.Load()
}

// plain reports whether the operation is a transfer of one buffer without
// anything special.
func (op *Op) plain() bool {
	return (op.Code == OpRead || op.Code == OpWrite) && op.Timeout == 0 && op.Off >= AtPosition && len(op.Buf) <= maxTransfer
}

// express performs a plain operation if there is room and an idle ring for it.
func (f *File) express(ctx context.Context, op *Op) (n int, err error, done bool) {
	size := len(op.Buf)
	if !op.plain() || current() != nil {
		return 0, nil, false
	}
	r := f.r
	if !f.pin() {
		return 0, ErrClosed, true
	}
	if !r.limits.roomy(size) {
		f.drop()
		return 0, nil, false
	}
	d := r.tryAcquire()
	var e *sqe
	if d != nil && d.idle() {
		e = d.q.next()
	}
	if e == nil {
		if d != nil {
			r.release(d)
		}
		f.drop()
		return 0, nil, false
	}
	if d.express(e, op, f) {
		r.release(d)
		return size, nil, true
	}
	ev := r.conclude(ctx, d, r.patience(op))
	if ev.Err != nil {
		err = f.opError(op, ev.Err)
	}
	return ev.N, err, true
}

// express performs a plain operation in entry e on an idle driver if it ends at
// once and in full. Otherwise it enlists it for d.own, and the caller goes on with
// drive. The caller owns the submission side; express locks mu if it reports false.
func (d *driver) express(e *sqe, op *Op, f *File) bool {
	s := d.spare
	s.gen++
	userData := s.userData()
	size := len(op.Buf)
	e.PrepOperation(uint8(op.Code), int32(op.FD), uint64(uintptr(unsafe.Pointer(unsafe.SliceData(op.Buf)))), uint32(size), uint64(op.Off))
	e.SetOpFlags(op.Flags)
	if op.Unprivileged {
		e.SetPersonality(d.user)
	}
	e.SetUserData(userData)
	n, _ := d.q.enter(0, 0)
	keepAlive(op)
	if n == 1 {
		c, ok := d.q.peek()
		if ok && c.userData == userData && int(c.res) == size {
			d.leave(op, f, size)
			return true
		}
		d.mu.Lock()
		d.enlist(s, op, f)
		if ok {
			d.reaped++
			d.complete(c)
		}
		return false
	}
	d.mu.Lock()
	d.enlist(s, op, f)
	d.filled = append(d.filled, s) // drive enters again, and heeds the errno
	return false
}

// leave ends a transfer that went the short way. The caller owns the submission
// side.
func (d *driver) leave(op *Op, f *File, size int) {
	count := &d.expressed.reads
	if op.Code == OpWrite {
		count = &d.expressed.writes
	}
	if v := count.Add(1<<packShift + uint64(size)); v&(1<<packShift-1) >= packFlush || v>>(packShift+23) != 0 {
		d.mu.Lock()
		d.counts.add(d.expressed.reads.Swap(0), d.expressed.writes.Swap(0))
		d.mu.Unlock()
	}
	if f.unpin() {
		unix.Close(f.fd)
	}
}

// enlist makes the operation that was submitted under the user data of the spare
// slot an ordinary one in flight, whose waker is d.own. The caller owns the
// submission side and holds mu.
func (d *driver) enlist(s *slot, op *Op, f *File) {
	d.spare = d.newSlot()
	d.occupy(s, op, &d.own, f, nil)
	for _, l := range d.limits {
		l.charge(len(op.Buf))
	}
	s.state = slotInFlight
	d.counts.submitted++
	d.own.slot, d.own.done = s, false
	if d.closing { // stopAll has not seen it
		d.counts.cancelled++
		s.end = endCancel
		d.cancelInKernel(s)
	}
}

// add counts what [expressCounts] packs.
func (c *counts) add(reads, writes uint64) {
	n := reads>>packShift + writes>>packShift
	c.submitted += n
	c.completed += n
	c.bytesRead += reads & (1<<packShift - 1)
	c.bytesWritten += writes & (1<<packShift - 1)
}
