package reactor

import (
	"context"
	"slices"
	"sync"
)

// Workers are kernel threads (io-wq) that carry the reads and writes of tasks on
// blocking backings, one each, for several executors. Without, these go by way of
// the one thread that a [Reactor] has for such backings, which wakes two threads
// more for each.
//
// The kernel's threads hang on the executors', so each of these has its share of
// them. What finds all of its own executor's busy goes to another one that has some
// left, and waits its turn if there is none. Close such executors together:
// [Executor.Close] ends, with EINTR, also what an executor carries for others.
type Workers struct {
	each int
	room *Limits // as many operations as there are workers

	mu        sync.Mutex
	executors []*Executor
}

// NewWorkers shares out n workers among so many executors, one each at least.
func NewWorkers(n, executors int) *Workers {
	executors = max(executors, 1)
	each := max(n/executors, 1)
	return &Workers{each: each, room: NewLimits(each*executors, 1)}
}

// bounds are those of an executor's ring that has its share of w, which may be nil,
// beside n workers for what else is punted.
func (w *Workers) bounds(n int) workerBounds {
	b := workerBounds{n, n}
	if w != nil {
		b.unbounded += w.each
	}
	return b
}

// join makes e one of the executors.
func (w *Workers) join(e *Executor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.executors = append(w.executors, e)
}

// leave is the opposite of join, for one whose thread has ended.
func (w *Workers) leave(e *Executor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.executors = slices.DeleteFunc(w.executors, func(other *Executor) bool { return other == e })
}

// acquire waits for a worker and returns the thread whose it is, that of the task if
// it has one. [driver.freeWorker] gives it back. Its errors are those of ctx.
func (w *Workers) acquire(ctx context.Context, task *Task, p patience) (*thread, error) {
	if err := w.room.acquire(ctx, p, 0); err != nil {
		return nil, err
	}
	if w.reserve(task.e.t) {
		return task.e.t, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.executors {
		if !e.t.shut.Load() && w.reserve(e.t) {
			return e.t, nil
		}
	}
	// Others have reserved and taken back, or executors are closed.
	task.e.t.blocking.Add(1)
	return task.e.t, nil
}

// reserve takes a worker of t's if one is free.
func (w *Workers) reserve(t *thread) bool {
	if int(t.blocking.Add(1)) <= w.each {
		return true
	}
	t.blocking.Add(-1)
	return false
}

// freeWorker gives back what an operation on a blocking backing has occupied.
func (d *driver) freeWorker() {
	d.blocking.Add(-1)
	if d.room != nil {
		d.room.release(0)
	}
}
