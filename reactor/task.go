package reactor

import (
	"container/heap"
	"context"
	"iter"
	"time"
)

// Task is a function that an [Executor] runs, seen from inside: its methods are
// for that function alone, but for Interrupt and Unpark.
type Task struct {
	e *Executor

	// The coroutine, which serves one task after the other.
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool

	busy   bool // with a task
	exited bool // ended by runtime.Goexit, and the coroutine with it

	goroutine uintptr // its name for find

	call call // of the operation on its executor that the task waits for

	follow follow // what the next transfer takes along

	// Guarded by the executor's mu.
	parked bool // not in the ready list and not running
	permit bool // the next park returns at once
	place  int  // in coroutines
}

func newTask(e *Executor) *Task {
	t := &Task{e: e}
	t.next, t.stop = iter.Pull(t.serve)
	return t
}

// serve is the coroutine. As long as no task of it waits it goes on with the next
// one, which spares two switches.
func (t *Task) serve(yield func(struct{}) bool) {
	t.yield = yield
	t.enlist()
	defer t.delist()
	for more := true; more; more = yield(struct{}{}) {
		t.busy = true
		for fn := t.e.nextStart(); fn != nil; fn = t.e.nextStart() {
			t.run(fn)
		}
		t.busy = false
	}
}

func (t *Task) run(fn func(*Task)) {
	t.follow = follow{} // one that panicked may have left a command
	if t.e.closed.Load() {
		t.Unpark() // Close has not seen this task
	}
	t.exited = true // unless what follows is reached
	defer func() {
		t.e.over++
		if value := recover(); value != nil {
			t.exited = false
			t.e.panicked(value)
		}
	}()
	fn(t)
	t.exited = false
}

// Current is the task that calls, nil on any other goroutine.
func Current() *Task { return current() }

// Executor is what the task runs on.
func (t *Task) Executor() *Executor { return t.e }

// park gives the thread to others until unpark was called, before or after. It
// may return without: what is waited for is to be looked at again.
func (t *Task) park() {
	t.e.mu.Lock()
	if t.permit {
		t.permit = false
		t.e.mu.Unlock()
		return
	}
	t.parked = true
	t.e.mu.Unlock()
	t.yield(struct{}{})
}

// unpark ends a park, from any goroutine and with any lock held.
func (t *Task) unpark() {
	t.e.mu.Lock()
	t.wakeLocked()
	t.e.mu.Unlock()
	t.e.t.wakeUp()
}

// wakeLocked is unpark for who holds the executor's mu and wakes the thread.
func (t *Task) wakeLocked() {
	if t.parked {
		t.parked = false
		t.e.ready = append(t.e.ready, t)
	} else {
		t.permit = true
	}
}

// Wake makes Task the waker of operations it waits for; see [driver.tell].
func (t *Task) Wake(Event) { t.unpark() }

// Park gives the thread to others until Unpark has been called, or was called
// since the last Park. It may also return without: look at what you wait for
// again. It fails with ErrClosed once the executor is being closed.
func (t *Task) Park() error {
	t.park()
	if t.e.closed.Load() {
		return ErrClosed
	}
	return nil
}

// Unpark ends the task's Park, from any goroutine. Called after the task is
// over it may disturb the Park of another task, which looks again.
func (t *Task) Unpark() { t.unpark() }

// Interrupt has the task look whether the context of what it waits for has
// ended. Only needed with [ExecutorConfig.Interrupts]. Safe from any goroutine.
func (t *Task) Interrupt() { t.unpark() }

// Yield lets the other tasks that are ready run first, and submits what they
// all have started.
func (t *Task) Yield() {
	t.e.mu.Lock()
	t.e.ready = append(t.e.ready, t)
	t.e.mu.Unlock()
	t.yield(struct{}{})
}

// Spawn starts another task on the same executor.
func (t *Task) Spawn(fn func(*Task)) error { return t.e.Spawn(fn) }

// Sleep waits for d, or less: until ctx ends, whose error it returns, or the
// executor is closed (ErrClosed).
func (t *Task) Sleep(ctx context.Context, d time.Duration) error {
	var err error
	defer t.watch(ctx)()
	t.sleep(d, func() bool {
		if err = ctx.Err(); err == nil && t.e.closed.Load() {
			err = ErrClosed
		}
		return err != nil
	})
	return err
}

// Do performs op on the executor's own ring and returns its event. Where op.FD
// is on a backing that blocks it would hold all tasks: take a [File] for that.
// When ctx ends the operation is cancelled; a read or write has ended when Do
// returns.
func (t *Task) Do(ctx context.Context, op Op) (Event, error) {
	if errno := op.check(); errno != 0 {
		return Event{}, newOpError(&op, errno)
	}
	ev, err := t.do(ctx, &op, nil, nil, nil, patience{})
	if err == nil && ev.Err != nil {
		err = newOpError(&op, ev.Err)
	}
	return ev, err
}

// newCall is the call of the task's next operation on its executor. It waits for
// one at a time.
func (t *Task) newCall() *call {
	t.call = call{task: t}
	return &t.call
}

// do performs an operation on the executor's ring, admitted as in says if that is
// not nil. A failure means that it was not submitted.
func (t *Task) do(ctx context.Context, op *Op, f *File, buf *buffer, in *admission, p patience) (Event, error) {
	th, c := t.e.t, t.newCall()
	th.mu.Lock()
	if th.closing {
		th.mu.Unlock()
		return Event{}, ErrClosed
	}
	s := th.add(op, c, f, buf, in)
	c.slot = s
	id := th.id(s)
	if t.e.alone() {
		th.push()
	}
	if c.done {
		th.unlockAndWake()
		return c.ev, nil
	}
	c.parked = true
	th.arm(s)
	th.unlockAndWake()
	return c.wait(ctx, id, p), nil
}

// until waits until over holds, whoever makes it so unparks the task, or ctx
// ends. It reports which.
func (t *Task) until(ctx context.Context, over func() bool) bool {
	defer t.watch(ctx)()
	for !over() {
		if ctx.Err() != nil {
			return false
		}
		t.park()
	}
	return true
}

// sleep waits for d, or until over holds.
func (t *Task) sleep(d time.Duration, over func() bool) {
	s := &sleeper{task: t, until: time.Now().Add(d)}
	heap.Push(&t.e.sleepers, s)
	for s.place >= 0 && !over() {
		t.park()
	}
	if s.place >= 0 {
		heap.Remove(&t.e.sleepers, s.place)
	}
}

// aside runs fn, which may block, on a goroutine of its own. A panic or
// runtime.Goexit of fn is the task's.
func (t *Task) aside(fn func()) {
	b := &blocked{fn: fn, task: t}
	go b.run()
	b.await()
}

// interrupts reports whether the end of ctx, if it has one, unparks the task by
// itself.
func (t *Task) interrupts(ctx context.Context) bool {
	return t.e.cfg.Interrupts || ctx.Done() == nil
}

// watch unparks the task when ctx ends, until the function it returns is called.
func (t *Task) watch(ctx context.Context) (stop func()) {
	if t.interrupts(ctx) {
		return func() {}
	}
	unwatch := context.AfterFunc(ctx, t.unpark)
	return func() { unwatch() }
}

// sleeper is a task that sleeps.
type sleeper struct {
	task  *Task
	until time.Time
	place int // in sleepers; -1 when it was woken
}

// sleepers is a heap, the first to wake on top.
type sleepers []*sleeper

func (h sleepers) Len() int           { return len(h) }
func (h sleepers) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h sleepers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push and Pop are for container/heap.
func (h *sleepers) Push(x any) {
	s := x.(*sleeper)
	s.place = len(*h)
	*h = append(*h, s)
}

// Pop is for container/heap.
func (h *sleepers) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.place = -1
	return s
}

// wake unparks those whose time has come.
func (h *sleepers) wake() {
	if len(*h) == 0 {
		return
	}
	for now := time.Now(); len(*h) > 0 && !(*h)[0].until.After(now); {
		heap.Pop(h).(*sleeper).task.unpark()
	}
}

// next is how long the thread may sleep; 0: for ever.
func (h *sleepers) next() time.Duration {
	if len(*h) == 0 {
		return 0
	}
	return max(time.Until((*h)[0].until), time.Nanosecond)
}
