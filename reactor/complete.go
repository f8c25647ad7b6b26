package reactor

import (
	"syscall"
	"time"
)

// reap takes all completions out of the queue. The caller owns the submission
// side and holds mu.
func (d *driver) reap() {
	for {
		c, ok := d.q.peek()
		if !ok {
			return
		}
		d.reaped++
		d.complete(c)
	}
}

// complete applies a completion to its slot. The caller holds mu.
func (d *driver) complete(c completion) {
	index := uint32(c.userData)
	if int(index) >= len(d.slots) {
		if c.userData != cancelTag && (d.onTag == nil || !d.onTag(c)) {
			d.counts.spurious++
		}
		return
	}
	s := d.slots[index]
	if s.state != slotInFlight || s.userData() != c.userData {
		d.counts.spurious++
		return
	}
	if s.command != nil {
		d.redeem(s, c.res)
		return
	}
	v, n, errno := s.advance(c.res)
	if v == resubmit {
		d.counts.resubmitted++
		s.state = slotQueued
		d.backlog.push(s)
		d.work.Store(true)
		return
	}
	d.finish(s, n, errno)
}

// finish frees the slot of an operation that has ended and tells its waker. The
// caller holds mu.
func (d *driver) finish(s *slot, n int, errno syscall.Errno) {
	d.counts.completed++
	if !s.deadline.IsZero() {
		s.deadline = time.Time{}
		s.timer.Stop()
	}
	d.letGo(s, n)
	if errno == 0 {
		d.deliver(s, n)
	}
	id := d.id(s)
	w, buf := s.waker, s.buf
	s.state = slotFree
	s.op, s.waker, s.file, s.buf = Op{}, nil, nil, nil
	s.next, d.free = d.free, s
	if d.inFlight--; d.inFlight == 0 && d.live.Load() {
		d.live.Store(false)
	}
	if w == nil { // detached: nobody waits
		d.held--
		buf.free()
		return
	}
	d.tell(w, Event{ID: id, N: n, Err: toError(errno), buf: buf})
}

// letGo counts what an operation has moved, n bytes, and gives back what admitted
// it and what it was made on. The caller holds mu.
func (d *driver) letGo(s *slot, n int) {
	switch {
	case s.op.Code == OpRead || s.op.Code == OpReadv:
		d.counts.bytesRead += uint64(n)
	case s.op.writes():
		d.counts.bytesWritten += uint64(n)
	}
	if s.in != nil {
		s.in.release(s.op.size())
		if s.in.blocking {
			d.freeWorker()
		}
		s.in = nil
	}
	if s.file != nil && s.file.unpin() {
		d.woken = append(d.woken, wakeup{waker: (*closer)(s.file)})
	}
}

// deliver passes on what an operation without a caller's buffer has left in its
// slot, if somebody is there to have it. The caller holds mu.
func (d *driver) deliver(s *slot, n int) {
	switch {
	case s.op.Code == OpStatx && s.waker != nil:
		*s.op.Stat = *s.stat
	case s.op.Code == OpOpenat && s.waker == nil: // nobody would close it
		d.woken = append(d.woken, wakeup{waker: &closer{fd: n}})
	}
}

// wakeup is a Waker to be told an Event.
type wakeup struct {
	waker Waker
	event Event
}

// tell passes an event to a waker: at once to a call, which is guarded by mu,
// and once mu is released to any other, also to the task of a call.
func (d *driver) tell(w Waker, ev Event) {
	if c, ok := w.(*call); ok {
		switch task := c.wakeLocked(ev); {
		case task == nil:
			return
		case task.e.t.driver == d: // most often on its thread, which needs no signal
			task.unpark()
			return
		default:
			w = task
		}
	}
	d.woken = append(d.woken, wakeup{w, ev})
}

// unlockAndWake releases mu and then tells the wakers of what has ended.
func (d *driver) unlockAndWake() {
	if len(d.woken) == 0 {
		d.mu.Unlock()
		return
	}
	woken := d.woken
	d.woken = nil
	d.mu.Unlock()
	for _, w := range woken {
		w.waker.Wake(w.event)
	}
}

// toError avoids a non-nil error around errno 0.
func toError(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
