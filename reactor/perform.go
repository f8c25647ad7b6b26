package reactor

import (
	"context"

	"golang.org/x/sys/unix"
)

// do performs an operation for the calling goroutine: buf, if not nil, is where
// op.Buf lies, and comes back in the event unless the event is early.
func (r *Reactor) do(ctx context.Context, op *Op, f *File, buf *buffer) (Event, error) {
	in, err := r.admit(ctx, op, f)
	if err != nil {
		return Event{}, err
	}
	task := current()
	switch {
	case in.blocking:
		return r.doBlocking(ctx, task, op, f, buf)
	case task != nil:
		return r.doTask(ctx, task, op, f, buf)
	}
	d := r.acquire()
	d.mu.Lock()
	if d.closing {
		d.mu.Unlock()
		r.release(d)
		in.release(op.size())
		return Event{}, ErrClosed
	}
	d.own.slot, d.own.done = d.add(op, &d.own, f, buf, in), false
	return r.conclude(ctx, d, r.patience(op)), nil
}

// conclude drives d until d.own is over and returns its event. The caller owns
// the submission side and holds mu; conclude releases both.
func (r *Reactor) conclude(ctx context.Context, d *driver, p patience) Event {
	id := d.id(d.own.slot)
	if c := d.drive(&d.own); c != nil {
		r.release(d)
		ev := c.wait(ctx, id, p)
		c.free()
		return ev
	}
	ev := d.own.ev
	r.release(d)
	return ev
}

// doBlocking performs an admitted operation on a blocking backing.
func (r *Reactor) doBlocking(ctx context.Context, task *Task, op *Op, f *File, buf *buffer) (Event, error) {
	t, err := r.submitter(ctx, task, op)
	if err == nil {
		c := newCall()
		defer c.free()
		c.task = task
		if id, ok := t.submit(op, c, f, buf, &r.blocking); ok {
			return c.wait(ctx, id, r.patience(op)), nil
		}
		if t.executor != nil {
			t.freeWorker()
		}
		err = ErrClosed
	}
	r.blocking.release(op.size())
	return Event{}, err
}

// doTask performs an admitted operation for a task, on its executor's ring.
func (r *Reactor) doTask(ctx context.Context, task *Task, op *Op, f *File, buf *buffer) (Event, error) {
	err := error(ErrClosed)
	if !r.closed.Load() {
		var ev Event
		task.e.serve(r)
		if ev, err = task.do(ctx, op, f, buf, &r.inline, r.patience(op)); err == nil {
			return ev, nil
		}
	}
	r.inline.release(op.size())
	return Event{}, err
}

// Register hands op to a ring and returns its event's id; w is woken when it
// has ended. While the reactor is at its limits Register waits, within ctx;
// after that ctx plays no part. The descriptor is looked up with statfs(2) each
// time; operations of a [File] are not.
func (r *Reactor) Register(ctx context.Context, op Op, w Waker) (EventID, error) {
	return r.register(ctx, &op, w, nil, nil)
}

func (r *Reactor) register(ctx context.Context, op *Op, w Waker, f *File, buf *buffer) (EventID, error) {
	if errno := op.check(); errno != 0 {
		return EventID{}, newOpError(op, errno)
	}
	size := op.size()
	in, err := r.admit(ctx, op, f)
	if err != nil {
		return EventID{}, err
	}
	if in.blocking {
		t, err := r.slowLane()
		if err == nil {
			if id, ok := t.submit(op, w, f, buf, in); ok {
				return id, nil
			}
			err = ErrClosed
		}
		in.release(size)
		return EventID{}, err
	}
	d := r.acquire()
	d.mu.Lock()
	if d.closing {
		d.mu.Unlock()
		r.release(d)
		in.release(size)
		return EventID{}, ErrClosed
	}
	s := d.add(op, w, f, buf, in)
	d.arm(s)
	id := d.id(s)
	d.drive(nil)
	r.release(d)
	return id, nil
}

// Cancel ends an operation early if it has not ended: its event is EINTR,
// unless it completes all the same. A buffer of the caller's is free when the
// event has come and not before.
func (r *Reactor) Cancel(id EventID) {
	if id.driver != nil {
		id.driver.cancel(id, endCancel)
	}
}

// class is how the operation's backing takes I/O; f is the file if it is of one.
func (op *Op) class(f *File) Class {
	switch {
	case f != nil:
		return f.class
	case op.Code == OpNop:
		return ClassInline
	case op.FD == unix.AT_FDCWD: // the path decides, and it is cheaper to assume the worst
		return ClassBlocking
	}
	return ClassOf(op.FD)
}

// admit waits until op fits within the limits. Its end releases that, or who
// finds no driver for it.
func (r *Reactor) admit(ctx context.Context, op *Op, f *File) (*admission, error) {
	in := &r.inline
	if op.class(f) == ClassBlocking {
		in = &r.blocking
	}
	if op.Timeout == 0 {
		op.Timeout = r.cfg.Timeout
	}
	return in, in.acquire(ctx, r.patience(op), op.size())
}
