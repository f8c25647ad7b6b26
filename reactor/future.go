package reactor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"syscall"
)

// ErrPending is the result of a future that is not done.
var ErrPending = errors.New("reactor: operation in flight")

// Future is the outcome-to-be of an operation. Safe for concurrent use.
type Future struct {
	op   Op // as the caller gave it
	r    *Reactor
	id   EventID
	ev   Event
	done chan struct{} // closed once ev is set

	mu    sync.Mutex
	tasks []*Task // in Wait
}

func newFuture(op Op) *Future { return &Future{op: op, done: make(chan struct{})} }

func (f *Future) register(ctx context.Context, r *Reactor, op *Op, file *File, buf *buffer) error {
	f.r = r
	id, err := r.register(ctx, op, f, file, buf)
	f.id = id
	return err
}

// Wake completes the future. It is for the reactor to call.
func (f *Future) Wake(ev Event) {
	f.op.unstage(ev)
	ev.buf = nil
	f.ev = ev
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.done)
	for _, t := range f.tasks {
		t.unpark()
	}
}

// Done is closed when the operation has ended and its buffer is the caller's again.
func (f *Future) Done() <-chan struct{} { return f.done }

func (f *Future) isDone() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// Result returns what the operation returned, or ErrPending before it is done.
// Errors are *OpError wrapping a syscall.Errno.
func (f *Future) Result() (int, error) {
	if !f.isDone() {
		return 0, ErrPending
	}
	if f.ev.Err != nil {
		return f.ev.N, newOpError(&f.op, f.ev.Err)
	}
	return f.ev.N, nil
}

// Wait waits for the operation and returns its result. When ctx ends first it
// returns the error of ctx, and the operation goes on; see Cancel.
func (f *Future) Wait(ctx context.Context) (int, error) {
	if t := current(); t != nil {
		f.mu.Lock()
		f.tasks = append(f.tasks, t)
		f.mu.Unlock()
		if !t.until(ctx, f.isDone) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.tasks = slices.DeleteFunc(f.tasks, func(other *Task) bool { return other == t })
			return 0, ctx.Err()
		}
		return f.Result()
	}
	select {
	case <-f.done:
		return f.Result()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Cancel asks for an early end. The future is done with EINTR when the buffer
// is free, or with its result if that came first.
func (f *Future) Cancel() { f.r.Cancel(f.id) }

// Submit starts op on a descriptor of the caller's, which stays open until the
// future is done, and returns its future. While the reactor is at its limits
// Submit waits, within ctx.
func (r *Reactor) Submit(ctx context.Context, op Op) (*Future, error) {
	fut := newFuture(op)
	f := &File{r: r, fd: op.FD, class: op.class(nil)}
	buf := f.stage(&op)
	if err := fut.register(ctx, r, &op, nil, buf); err != nil {
		buf.free()
		if errno := syscall.Errno(0); errors.As(err, &errno) {
			return nil, err
		}
		return nil, f.opError(&op, err)
	}
	return fut, nil
}
