package reactor

import "time"

// arm starts the clock of an operation that has a deadline. The caller holds mu.
func (d *driver) arm(s *slot) {
	if s.op.Timeout > 0 {
		d.alarm(s, s.op.Timeout)
	}
}

// alarm has rouse called for the operation in s after a while. The caller holds mu.
func (d *driver) alarm(s *slot, after time.Duration) {
	s.deadline = time.Now().Add(after)
	if s.timer == nil {
		s.timer = time.AfterFunc(after, func() { d.rouse(s) })
		return
	}
	s.timer.Reset(after)
}

// A cancel that comes while a kernel worker is about to put its request on a
// poll list finds it in neither place (6.18: io_try_cancel), so a cancel is
// repeated until the completion is there, ever more rarely.
const (
	firstCancelRetry = 20 * time.Millisecond
	lastCancelRetry  = 5 * time.Second
)

// rouse stops the operation in s if its time is over, or stops it again. A
// timer that fires late may find another operation there, whose time is not.
func (d *driver) rouse(s *slot) {
	d.mu.Lock()
	switch {
	case s.state == slotFree || s.deadline.IsZero() || time.Now().Before(s.deadline):
		d.mu.Unlock()
	case s.end == endNone:
		d.stop(s, endDeadline)
	default:
		d.cancelInKernel(s)
		d.mu.Unlock()
		d.kick(d)
	}
}

// cancelInKernel has the kernel cancel the operation in s, and asks again later.
// The caller holds mu.
func (d *driver) cancelInKernel(s *slot) {
	d.cancels = append(d.cancels, s.userData())
	d.work.Store(true)
	s.retry = min(max(2*s.retry, firstCancelRetry), lastCancelRetry)
	d.alarm(s, s.retry)
}

// cancel ends an operation early, if it has not ended.
func (d *driver) cancel(id EventID, reason endReason) {
	d.mu.Lock()
	s := d.find(id)
	if s == nil {
		d.mu.Unlock()
		return
	}
	d.stop(s, reason)
}

// stop ends an operation early: if its buffer can be left behind its waker is
// told at once, else when its completion comes. The caller holds mu, which stop
// releases.
func (d *driver) stop(s *slot, reason endReason) {
	if s.end != endNone || s.command != nil { // which ends by itself
		d.mu.Unlock()
		return
	}
	s.end = reason
	if reason == endDeadline {
		d.counts.expired++
	} else {
		d.counts.cancelled++
	}
	if s.state == slotQueued && d.backlog.remove(s) { // the kernel has not seen it
		d.finish(s, s.done, reason.errno())
		d.unlockAndWake()
		return
	}
	d.cancelInKernel(s)
	if s.detachable && s.waker != nil {
		w := s.waker
		s.waker = nil
		d.held++
		d.tell(w, Event{ID: d.id(s), Err: reason.errno()})
	}
	d.unlockAndWake()
	d.kick(d)
}

// stopAll cancels everything in flight and refuses what comes. The caller then
// awaits drained.
func (d *driver) stopAll() {
	d.mu.Lock()
	d.closing = true
	d.shut.Store(true)
	var live []EventID
	for _, s := range d.slots {
		if s.state != slotFree {
			live = append(live, d.id(s))
		}
	}
	d.mu.Unlock()
	for _, id := range live {
		d.cancel(id, endCancel)
	}
	d.kick(d)
}
