package reactor

import "sync"

// Workers are kernel threads (io-wq) that carry the reads and writes of tasks on
// blocking backings, one each, for several executors. Without, these go by way of
// the one thread that a [Reactor] has for such backings, which wakes two threads
// more for each.
//
// The kernel's threads hang on the executors', so each of these has its share of
// them. What finds all of its own executor's busy goes to another one that has some
// left, and waits at its own if there is none. Close such executors together:
// [Executor.Close] ends, with EINTR, also what an executor carries for others.
type Workers struct {
	each int

	mu        sync.Mutex
	executors []*Executor
}

// NewWorkers shares out n workers among so many executors.
func NewWorkers(n, executors int) *Workers { return &Workers{each: n / executors} }

// bounds are those of an executor's ring that has its share of w, which may be nil,
// beside n workers for what else is punted.
func (w *Workers) bounds(n int) workerBounds {
	b := workerBounds{n, n}
	if w != nil {
		b.unbounded = max(n, w.each)
	}
	return b
}

func (w *Workers) join(e *Executor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.executors = append(w.executors, e)
}

// choose picks the executor that carries a read or write of a task of own's.
func (w *Workers) choose(own *Executor) *Executor {
	if own.blocked() < w.each {
		return own
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.executors {
		if e.blocked() < w.each && !e.t.shut.Load() {
			return e
		}
	}
	return own
}

// blocked is how many operations on blocking backings the executor carries.
func (e *Executor) blocked() int { return int(e.t.blocking.Load()) }
