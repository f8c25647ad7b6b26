package reactor

import (
	"context"
	"sync"
)

// call is a caller waiting for its operation on its own goroutine. Its fields
// are guarded by the mutex of the driver its operation is in.
type call struct {
	slot   *slot
	ev     Event
	done   bool
	parked bool
	wake   chan struct{} // one place: the wake-up of a parked call, sent under mu
	task   *Task         // to be woken instead, if a task calls

	ring chan *driver // one place: a ring handed over by release
}

var calls = sync.Pool{New: func() any {
	return &call{wake: make(chan struct{}, 1), ring: make(chan *driver, 1)}
}}

func newCall() *call { return calls.Get().(*call) }

// free gives c back for reuse; its event has been taken and nobody else has c.
func (c *call) free() {
	c.slot, c.task, c.ev, c.done, c.parked = nil, nil, Event{}, false, false
	calls.Put(c)
}

// Wake makes call a Waker; drivers call wakeLocked instead.
func (c *call) Wake(Event) { panic("reactor: call woken without its driver's lock") }

// wakeLocked delivers the event. A parked call is its caller's again at once,
// unless that is a task, which is returned for the caller to unpark. The caller
// holds the driver's mutex.
func (c *call) wakeLocked(ev Event) (parked *Task) {
	c.ev, c.done = ev, true
	switch {
	case !c.parked:
		return nil
	case c.task != nil:
		return c.task
	}
	c.wake <- struct{}{}
	return nil
}

// wait returns the event of a parked call. When ctx ends, and p with it, it
// cancels the operation, and still waits for it unless it runs in a buffer of
// its own.
func (c *call) wait(ctx context.Context, id EventID, p patience) Event {
	if c.task == nil {
		if !p.wait(ctx, c.wake) {
			id.driver.cancel(id, endReasonOf(ctx))
			<-c.wake
		}
		return c.ev
	}
	if c.task.interrupts(ctx) && ctx.Err() == nil { // nearly always enough
		c.task.park()
		if c.over(id.driver) {
			return c.ev
		}
	}
	over := func() bool { return c.over(id.driver) }
	if !p.waitTask(ctx, c.task, over) {
		id.driver.cancel(id, endReasonOf(ctx))
		for !over() {
			c.task.park()
		}
	}
	return c.ev
}

func (c *call) over(d *driver) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return c.done
}
