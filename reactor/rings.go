package reactor

import (
	"runtime"
	"slices"
	"time"
)

// acquire gets the submission side of a ring, waiting its turn for one.
func (r *Reactor) acquire() *driver {
	if d := r.tryAcquire(); d != nil {
		return d
	}
	c := newCall()
	defer c.free()
	r.queueMu.Lock()
	r.queue = append(r.queue, c)
	r.waiting.Add(1)
	r.queueMu.Unlock()
	// A ring given up before waiting was seen went to nobody.
	if d := r.tryAcquire(); d != nil {
		r.release(d)
	}
	return <-c.ring
}

// tryAcquire prefers a ring with nothing in flight: its completions need no signal.
func (r *Reactor) tryAcquire() *driver {
	for _, d := range r.rings {
		if !d.live.Load() && !d.shut.Load() && d.take() {
			return d
		}
	}
	for _, d := range r.rings {
		if r.useful(d) && d.take() {
			return d
		}
	}
	return nil
}

// useful reports whether an operation may go to d: to one that is shut only when
// all are, to be told why.
func (r *Reactor) useful(d *driver) bool {
	return !d.shut.Load() || !slices.ContainsFunc(r.rings, func(d *driver) bool { return !d.shut.Load() })
}

// release gives the submission side up, to the caller that waits longest if one
// does, and sees to work that was left while it was held.
func (r *Reactor) release(d *driver) {
	for {
		if r.waiting.Load() > 0 && r.useful(d) {
			if c := r.nextWaiter(); c != nil {
				c.ring <- d
				return
			}
		}
		d.busy.Store(0)
		switch {
		case d.work.Load():
			if !d.take() {
				return // whoever has it sees to it
			}
			d.mu.Lock()
			d.drive(nil)
		case r.waiting.Load() > 0 && r.useful(d):
			if !d.take() {
				return
			}
		default:
			return
		}
	}
}

func (r *Reactor) nextWaiter() *call {
	r.queueMu.Lock()
	defer r.queueMu.Unlock()
	if len(r.queue) == 0 {
		return nil
	}
	c := r.queue[0]
	r.queue[0] = nil
	r.queue = r.queue[1:]
	r.waiting.Add(-1)
	return c
}

// kick drives d, or leaves that to its owner.
func (r *Reactor) kick(d *driver) {
	d.work.Store(true)
	if d.take() {
		d.mu.Lock()
		d.drive(nil)
		r.release(d)
	}
}

// spinAfterProgress is how long the reaper looks for further completions before
// it sleeps: a wake-up costs more, and a busy device is about to complete.
const spinAfterProgress = 20 * time.Microsecond

// reapLoop reaps what nobody is there to reap inline.
func (r *Reactor) reapLoop() {
	defer close(r.reaped)
	var counter [8]byte
	for {
		if _, err := r.signalled.Read(counter[:]); err != nil {
			return // closed
		}
		r.reapUntil(time.Now().Add(r.cfg.spin))
	}
}

// reapUntil reaps until there was no progress for as long as end is away, and at
// least once: the signal has been taken, and nobody repeats it for a reaper that
// was put aside until end had passed.
func (r *Reactor) reapUntil(end time.Time) {
	for {
		n := r.reapAll()
		now := time.Now()
		if n > 0 {
			end = now.Add(r.cfg.spin)
		} else if !now.Before(end) {
			return
		}
		runtime.Gosched()
	}
}

// reapAll reaps every ring that has something in flight. One whose owner has
// not gone yet is left to that.
func (r *Reactor) reapAll() (reaped int) {
	for _, d := range r.rings {
		if !d.live.Load() {
			continue
		}
		d.work.Store(true)
		if !d.take() {
			continue
		}
		d.mu.Lock()
		before := d.reaped
		d.drive(nil)
		reaped += d.reaped - before
		r.release(d)
	}
	return reaped
}
