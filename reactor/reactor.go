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
	// which so has room of its own. 0: [DefaultWorkers]. Executors may have
	// such workers of their own; see [Workers].
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

	// Patience says how long an operation goes on, in flight or waiting for
	// room, whose context was cancelled. It is asked then, and again each time
	// as long as it said has passed, which waited is the sum of; 0 gives the
	// operation up. It may block, and must not panic: the operation would go
	// on in a buffer whose owner is gone. nil: operations are given up at
	// once, as they always are at the deadline of their context.
	Patience func(ctx context.Context, op Opcode, waited time.Duration) (again time.Duration)

	// Lockdown restricts every ring to the operations of this package and
	// makes all of them in New, so that [ForbidNewRings] may follow.
	Lockdown bool

	// newQueue replaces the kernel's rings in tests.
	newQueue func(ringConfig) (queue, error)

	// spin replaces spinAfterProgress in benchmarks; negative: none.
	spin time.Duration
}

// defaultLimits bounds the whole process where no Config says otherwise.
var defaultLimits = sync.OnceValue(func() *Limits { return NewLimits(16384, 512<<20) })

// DefaultWorkers bounds the kernel threads that carry reads and writes on blocking
// backings. With the threads of an ordinary process they stay below 300.
const DefaultWorkers = 240

// Reactor performs file I/O on a set of rings. Safe for concurrent use.
//
// A caller fills an entry, submits it and reaps at once: what the page cache
// has costs one system call, no allocation and no switch. Only a caller whose
// completion is not there parks, and the reaper goroutine wakes it.
type Reactor struct {
	cfg    Config
	limits *Limits
	slow   *Limits // the part of limits that blocking backings may use

	inline, blocking admission // of an operation, by the class of its backing

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
		cfg.Workers = DefaultWorkers
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
	r.inline = admission{limits: []*Limits{r.limits}}
	r.blocking = admission{limits: []*Limits{r.slow, r.limits}, blocking: true}
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
	d := newDriver(q)
	d.kick = r.kick
	r.rings = append(r.rings, d)
	return nil
}

func (r *Reactor) newQueue(efd int) (queue, error) {
	cfg := ringConfig{
		entries:     64,
		completions: 1024,
		flags:       sys.IORING_SETUP_COOP_TASKRUN,
		optional:    sys.IORING_SETUP_COOP_TASKRUN,
		workers:     workerBounds{r.cfg.RingWorkers, r.cfg.RingWorkers},
		lockdown:    r.lockdown(),
		newQueue:    r.cfg.newQueue,
	}
	q, err := cfg.open()
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

// slowLane is the submitter for blocking backings.
func (r *Reactor) slowLane() (*thread, error) {
	r.laneMu.Lock()
	defer r.laneMu.Unlock()
	if r.closed.Load() {
		return nil, ErrClosed
	}
	if r.lane == nil {
		lane, err := newLane(r.cfg, r.lockdown())
		if err != nil {
			return nil, err
		}
		r.lane = lane
	}
	return r.lane, nil
}

// Close refuses new operations, cancels those in flight, awaits every
// completion and gives the rings back. It is [Reactor.Shutdown] without a limit
// in time, so that it lasts as long as a hung backing does. Operations on the rings
// of executors are these' own: close them first.
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
