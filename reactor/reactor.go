package reactor

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	sys "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// Config is what a [Reactor] is made with. The zero value is good for most uses.
type Config struct {
	// Rings is how many rings callers share; as many may be inside
	// io_uring_enter at once. 0: eight for each of GOMAXPROCS, at most 128.
	// More only cost descriptors and memory.
	Rings int

	// Limits bounds what is in flight, of blocking backings to three quarters
	// of it, so that the others always find room. nil: the limits that all
	// reactors of the process share by default, 16384 operations and 512 MiB.
	Limits *Limits

	// Workers bounds the kernel threads (io-wq) that carry reads and writes
	// on blocking backings; each blocked operation takes one, further ones
	// queue. An eighth as many more carry the rest (fsync, openat and so on),
	// which so has room of its own. 0: 240, which with the threads of an
	// ordinary process stays below 300.
	Workers int

	// RingWorkers bounds the kernel threads for punted operations of each
	// thread that submits (ext4 writes, fsync), and as many for those on
	// devices that cannot wait otherwise. 0: 8.
	RingWorkers int

	// Blockers bounds what runs in [Reactor.Block] at once: on the goroutines
	// that call it, and for tasks of an [Executor], each. 0: 32.
	Blockers int

	// Timeout bounds every operation that names none of its own. 0: no bound.
	// An operation that has a bound runs in a buffer of the reactor's own.
	Timeout time.Duration

	// CancelDelay is how long an operation may go on after its context was
	// cancelled before it is cancelled too. 0: not at all. Callers that are
	// interrupted by every passing signal want some.
	CancelDelay time.Duration

	// Lockdown restricts every ring to the operations of this package and
	// makes all of them in New, so that [ForbidNewRings] may follow.
	Lockdown bool

	// newQueue replaces the kernel's rings in tests.
	newQueue func(efd int) (queue, error)

	// spin replaces spinAfterProgress in benchmarks; negative: none.
	spin time.Duration
}

// defaultLimits bounds the whole process where no Config says otherwise.
var defaultLimits = sync.OnceValue(func() *Limits { return NewLimits(16384, 512<<20) })

// Reactor performs file I/O on a set of rings. Safe for concurrent use.
//
// A caller fills an entry, submits it and reaps at once: what the page cache
// has costs one system call, no allocation and no switch. Only a caller whose
// completion is not there parks, and the reaper goroutine wakes it.
type Reactor struct {
	cfg    Config
	limits *Limits
	slow   *Limits // the part of limits that blocking backings may use

	rings []*driver

	// waiting counts callers for whom no ring was free; queue holds them,
	// oldest first, so that nobody is overtaken for long.
	waiting atomic.Int32
	queueMu sync.Mutex
	queue   []*call

	// signalled is the eventfd of all rings, in Go's poller.
	signalled *os.File
	reaped    chan struct{} // closed when the reaper has ended

	blockers blockers // goroutines for Block

	laneMu    sync.Mutex
	lane      *thread     // of blocking backings, made on first use
	executors []*Executor // whose tasks have used this reactor's files
	past      Stats       // counters of those that are closed
	closed    atomic.Bool
}

// New makes a reactor. Its errors are *SetupError, which carry a remedy.
// Close it to give its rings back.
func New(cfg Config) (*Reactor, error) {
	if cfg.Rings <= 0 {
		cfg.Rings = min(8*runtime.GOMAXPROCS(0), 128)
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 240
	}
	if cfg.spin == 0 {
		cfg.spin = spinAfterProgress
	}
	if cfg.RingWorkers <= 0 {
		cfg.RingWorkers = 8
	}
	if cfg.Blockers <= 0 {
		cfg.Blockers = 32
	}
	r := &Reactor{cfg: cfg, blockers: blockers{max: cfg.Blockers, here: make(chan struct{}, cfg.Blockers)}, limits: cfg.Limits, reaped: make(chan struct{})}
	if r.limits == nil {
		r.limits = defaultLimits()
	}
	ops, bytes := r.limits.Max()
	r.slow = NewLimits(ops*3/4, bytes/4*3)
	efd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, newSetupError("eventfd", err)
	}
	r.signalled = os.NewFile(uintptr(efd), "eventfd")
	for range cfg.Rings {
		if err := r.addRing(efd); err != nil {
			for _, d := range r.rings {
				d.unmap()
			}
			r.signalled.Close()
			return nil, err
		}
	}
	// Ends when the eventfd is closed; Close awaits it.
	go r.reapLoop()
	if cfg.Lockdown {
		if _, err := r.slowLane(); err != nil {
			r.Close()
			return nil, err
		}
	}
	return r, nil
}

// lockdown is what the rings may do, nil for everything.
func (r *Reactor) lockdown() []Opcode {
	if r.cfg.Lockdown {
		return fileOps
	}
	return nil
}

func (r *Reactor) addRing(efd int) error {
	q, err := r.newQueue(efd)
	if err != nil {
		return err
	}
	d := newDriver(q, r.limits)
	d.kick = r.kick
	r.rings = append(r.rings, d)
	return nil
}

func (r *Reactor) newQueue(efd int) (queue, error) {
	if r.cfg.newQueue != nil {
		return r.cfg.newQueue(efd)
	}
	cfg := ringConfig{
		entries:     64,
		completions: 1024,
		flags:       sys.IORING_SETUP_COOP_TASKRUN,
		optional:    sys.IORING_SETUP_COOP_TASKRUN,
		workers:     workerBounds{r.cfg.RingWorkers, r.cfg.RingWorkers},
		lockdown:    r.lockdown(),
	}
	q, err := newRing(cfg)
	if err != nil {
		return nil, err
	}
	err = q.registerEventfd(efd)
	if err == nil {
		err = q.enable(cfg)
	}
	if err != nil {
		q.close()
		return nil, err
	}
	return q, nil
}

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
		if !d.live.Load() && d.take() {
			return d
		}
	}
	for _, d := range r.rings {
		if d.take() {
			return d
		}
	}
	return nil
}

// release gives the submission side up, to the caller that waits longest if one
// does, and sees to work that was left while it was held.
func (r *Reactor) release(d *driver) {
	for {
		if r.waiting.Load() > 0 {
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
		case r.waiting.Load() > 0:
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

// do performs an operation for the calling goroutine: buf, if not nil, is where
// op.Buf lies, and comes back in the event unless the event is early.
func (r *Reactor) do(ctx context.Context, op *Op, f *File, buf *buffer) (Event, error) {
	slow := op.class(f) == ClassBlocking
	if err := r.admit(ctx, op, slow); err != nil {
		return Event{}, err
	}
	task := current()
	switch {
	case slow:
		return r.doSlow(ctx, task, op, f, buf)
	case task != nil:
		return r.doTask(ctx, task, op, f, buf)
	}
	d := r.acquire()
	d.mu.Lock()
	if d.closing {
		d.mu.Unlock()
		r.release(d)
		r.dismiss(op.size(), false)
		return Event{}, ErrClosed
	}
	d.own.slot, d.own.done = d.add(op, &d.own, f, buf), false
	return r.conclude(ctx, d), nil
}

// conclude drives d until d.own is over and returns its event. The caller owns
// the submission side and holds mu; conclude releases both.
func (r *Reactor) conclude(ctx context.Context, d *driver) Event {
	id := d.id(d.own.slot)
	if c := d.drive(&d.own); c != nil {
		r.release(d)
		ev := c.wait(ctx, id, r.grace)
		c.free()
		return ev
	}
	ev := d.own.ev
	r.release(d)
	return ev
}

// doSlow performs an admitted operation on a blocking backing.
func (r *Reactor) doSlow(ctx context.Context, task *Task, op *Op, f *File, buf *buffer) (Event, error) {
	t, err := r.slowLane()
	if err == nil {
		c := newCall()
		defer c.free()
		c.task = task
		if id, ok := t.submit(op, c, f, buf); ok {
			return c.wait(ctx, id, r.grace), nil
		}
		err = ErrClosed
	}
	r.dismiss(op.size(), true)
	return Event{}, err
}

// doTask performs an admitted operation for a task, on its executor's ring.
func (r *Reactor) doTask(ctx context.Context, task *Task, op *Op, f *File, buf *buffer) (Event, error) {
	err := error(ErrClosed)
	if !r.closed.Load() {
		var ev Event
		c := newCall()
		defer c.free()
		c.task = task
		task.e.serve(r)
		if ev, err = c.task.do(ctx, c, op, f, buf, r.limits, r.grace); err == nil {
			return ev, nil
		}
	}
	r.dismiss(op.size(), false)
	return Event{}, err
}

// grace is a channel that is ready CancelDelay from now.
func (r *Reactor) grace() <-chan struct{} {
	if r.cfg.CancelDelay <= 0 {
		return closedChannel
	}
	ch := make(chan struct{})
	time.AfterFunc(r.cfg.CancelDelay, func() { close(ch) })
	return ch
}

var closedChannel = func() chan struct{} { ch := make(chan struct{}); close(ch); return ch }()

// slowLane is the submitter for blocking backings.
func (r *Reactor) slowLane() (*thread, error) {
	r.laneMu.Lock()
	defer r.laneMu.Unlock()
	if r.closed.Load() {
		return nil, ErrClosed
	}
	if r.lane == nil {
		lane, err := newLane(r.cfg.Workers, []*Limits{r.slow, r.limits}, r.lockdown())
		if err != nil {
			return nil, err
		}
		r.lane = lane
	}
	return r.lane, nil
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
	slow := op.class(f) == ClassBlocking
	size := op.size()
	if err := r.admit(ctx, op, slow); err != nil {
		return EventID{}, err
	}
	if slow {
		t, err := r.slowLane()
		if err == nil {
			if id, ok := t.submit(op, w, f, buf); ok {
				return id, nil
			}
			err = ErrClosed
		}
		r.dismiss(size, slow)
		return EventID{}, err
	}
	d := r.acquire()
	d.mu.Lock()
	if d.closing {
		d.mu.Unlock()
		r.release(d)
		r.dismiss(size, slow)
		return EventID{}, ErrClosed
	}
	s := d.add(op, w, f, buf)
	d.arm(s)
	id := d.id(s)
	d.drive(nil)
	r.release(d)
	return id, nil
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

// admit waits until op fits within the limits; dismiss is its opposite for an
// operation that no driver has taken.
func (r *Reactor) admit(ctx context.Context, op *Op, slow bool) error {
	if op.Timeout == 0 {
		op.Timeout = r.cfg.Timeout
	}
	size := op.size()
	if slow {
		if err := r.slow.acquire(ctx, size); err != nil {
			return err
		}
	}
	if err := r.limits.acquire(ctx, size); err != nil {
		if slow {
			r.slow.release(size)
		}
		return err
	}
	return nil
}

func (r *Reactor) dismiss(size int, slow bool) {
	if slow {
		r.slow.release(size)
	}
	r.limits.release(size)
}

// Cancel ends an operation early if it has not ended: its event is EINTR,
// unless it completes all the same. A buffer of the caller's is free when the
// event has come and not before.
func (r *Reactor) Cancel(id EventID) {
	if id.driver != nil {
		id.driver.cancel(id, endCancel)
	}
}

// Close refuses new operations, cancels those in flight, awaits every
// completion and gives the rings back. It is [Reactor.Shutdown] without a limit
// in time, so that it lasts as long as a hung backing does.
func (r *Reactor) Close() error { return r.Shutdown(context.Background()) }

// Shutdown is Close until ctx ends. Then it returns the error of ctx and leaves
// the rings to the kernel, since unmapping memory in use would not be safe.
func (r *Reactor) Shutdown(ctx context.Context) error {
	r.laneMu.Lock()
	again := r.closed.Swap(true)
	lane := r.lane
	r.laneMu.Unlock()
	if again {
		return ErrClosed
	}
	for _, d := range r.rings {
		d.stopAll()
	}
	if lane != nil {
		lane.stopAll()
	}
	for _, d := range r.rings {
		select {
		case <-d.drained:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if lane != nil {
		select {
		case <-lane.ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := r.signalled.Close()
	<-r.reaped
	for _, d := range r.rings {
		for !d.take() { // the last caller is on its way out
			time.Sleep(time.Microsecond)
		}
		err = errors.Join(err, d.unmap())
		r.release(d) // who still comes is told that the reactor is closed
	}
	return err
}
