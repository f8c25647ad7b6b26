package reactor

import (
	"context"
	"sync"
	"sync/atomic"
)

// Limits bounds the operations in flight and the bytes of their buffers. What
// finds it full waits its turn, first come first served. A transfer that ends
// within its own system call is not counted while there is ample room. One Limits
// may serve several reactors and executors. Safe for concurrent use.
type Limits struct {
	maxOps   int64
	maxBytes int64

	// inUse counts operations above opShift and bytes below, so that one
	// atomic addition admits an operation.
	inUse   atomic.Int64
	waiting atomic.Int32

	mu      sync.Mutex
	waiters []*limitWaiter // oldest first
}

type limitWaiter struct {
	cost    int64
	granted chan struct{}
	task    *Task // to be unparked when granted, or nil
}

func (w *limitWaiter) isGranted() bool {
	select {
	case <-w.granted:
		return true
	default:
		return false
	}
}

const (
	opShift  = 44 // bytes up to 16 TiB, operations up to 2^19
	byteMask = int64(1)<<opShift - 1
)

// NewLimits makes limits of that many operations and bytes. At least one
// operation is always admitted, however large.
func NewLimits(ops int, bytes int64) *Limits {
	return &Limits{maxOps: min(max(int64(ops), 1), 1<<18), maxBytes: min(max(bytes, 1), byteMask>>1)}
}

// InUse is the number of operations admitted and the bytes of their buffers.
func (l *Limits) InUse() (ops int, bytes int64) {
	v := l.inUse.Load()
	return int(v >> opShift), v & byteMask
}

// Max is what NewLimits was given.
func (l *Limits) Max() (ops int, bytes int64) { return int(l.maxOps), l.maxBytes }

// cost is what an operation with a buffer of size bytes adds to inUse.
func cost(size int) int64 { return int64(1)<<opShift + int64(size) }

func (l *Limits) fits(v int64) bool {
	ops, bytes := v>>opShift, v&byteMask
	return ops <= l.maxOps && (bytes <= l.maxBytes || ops == 1)
}

// acquire admits an operation with a buffer of size bytes. It fails only with
// the error of ctx, when no patience is left.
func (l *Limits) acquire(ctx context.Context, p patience, size int) error {
	if l.tryAcquire(cost(size)) {
		return nil
	}
	w := &limitWaiter{cost: cost(size), granted: make(chan struct{}), task: current()}
	l.mu.Lock()
	l.waiters = append(l.waiters, w)
	l.waiting.Add(1)
	l.grant() // what was released meanwhile saw no waiter
	l.mu.Unlock()
	if w.task == nil && p.wait(ctx, w.granted) || w.task != nil && p.waitTask(ctx, w.task, w.isGranted) {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.waiters {
		if other == w {
			l.waiters = append(l.waiters[:i], l.waiters[i+1:]...)
			l.waiting.Add(-1)
			l.grant() // a smaller one may fit where this one did not
			return ctx.Err()
		}
	}
	return nil // granted just now
}

// tryAcquire admits at once or not at all; it does not overtake who waits.
func (l *Limits) tryAcquire(cost int64) bool {
	if l.waiting.Load() > 0 {
		return false
	}
	if l.fits(l.inUse.Add(cost)) {
		return true
	}
	l.inUse.Add(-cost)
	return false
}

// roomy reports whether there is so much room for operations of size bytes that
// those which end inside their system call need not be counted: there is at most
// one of them for each ring, and together they do not use up the room seen here.
// What does not end there is counted with charge.
func (l *Limits) roomy(size int) bool {
	const rings = 512 // of all reactors that share l; four with 128 each
	v := l.inUse.Load()
	ops, bytes := v>>opShift, v&byteMask
	return l.maxOps-ops >= rings && (l.maxBytes-bytes)/rings >= int64(size) && l.waiting.Load() == 0
}

// charge counts an operation that was let in by roomy.
func (l *Limits) charge(size int) { l.inUse.Add(cost(size)) }

func (l *Limits) release(size int) {
	l.inUse.Add(-cost(size))
	if l.waiting.Load() > 0 {
		l.mu.Lock()
		l.grant()
		l.mu.Unlock()
	}
}

// grant admits the waiters that fit, oldest first. The caller holds mu.
func (l *Limits) grant() {
	for len(l.waiters) > 0 {
		w := l.waiters[0]
		if !l.fits(l.inUse.Add(w.cost)) {
			l.inUse.Add(-w.cost)
			return
		}
		l.waiters = l.waiters[1:]
		l.waiting.Add(-1)
		close(w.granted)
		if w.task != nil {
			w.task.unpark()
		}
	}
}

// admission is how an operation on a backing of one class comes in.
type admission struct {
	limits   []*Limits // hold room for it
	blocking bool      // io_uring_enter would block on it; see [ClassBlocking]
}

// acquire waits until there is room for size bytes; see [Limits.acquire].
func (a *admission) acquire(ctx context.Context, p patience, size int) error {
	for i, l := range a.limits {
		if err := l.acquire(ctx, p, size); err != nil {
			for _, l := range a.limits[:i] {
				l.release(size)
			}
			return err
		}
	}
	return nil
}

func (a *admission) release(size int) {
	for _, l := range a.limits {
		l.release(size)
	}
}
