package reactor

import (
	"encoding/binary"
	"errors"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	sys "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// wakeTag is the lower half of the user data of the read of a thread's eventfd.
const wakeTag = uint64(1)<<32 - 2

// thread drives a ring from one locked OS thread, which alone enters it. Others
// put operations into the driver's backlog and wake it.
type thread struct {
	*driver
	efd int // eventfd that ends a sleep in enter

	// asleep: in enter, waiting, or about to. Who brings something new and
	// finds it set clears it and signals efd.
	asleep atomic.Bool

	// The read of efd; guarded by the driver's mutex.
	armed bool   // in flight
	gen   uint32 // of its next completion, so that an earlier one finds nobody

	// What else the thread has to do beside its operations, if not nil: ready
	// reports whether it must not sleep, live whether it must not end.
	ready, live func() bool

	executor *Executor // whose it is, nil for the lane

	counter [8]byte // what that read fills
	ended   chan struct{}
}

// startThread makes the ring on a new locked thread and leaves it running loop
// until the driver is closing and drained. setup, if set, runs on the thread
// before.
func startThread(cfg ringConfig, setup func(*thread) error, loop func(*thread)) (*thread, error) {
	started := make(chan error, 1)
	t := &thread{ended: make(chan struct{})}
	// The goroutine ends when the driver is drained (stopAll); close awaits it.
	go func() {
		defer close(t.ended)
		defer close(started)
		runtime.LockOSThread() // for life: io-wq and SINGLE_ISSUER hang on the thread
		if err := t.open(cfg); err != nil {
			started <- err
			return
		}
		defer t.close()
		if setup != nil {
			if err := setup(t); err != nil {
				started <- err
				return
			}
		}
		if err := t.q.enable(cfg); err != nil {
			started <- err
			return
		}
		started <- nil
		loop(t)
	}()
	err, told := <-started
	if !told {
		err = errSetupExited
	}
	if err != nil {
		<-t.ended
		return nil, err
	}
	return t, nil
}

// errSetupExited is why there is no thread when setup has called runtime.Goexit,
// as those of tests do in FailNow.
var errSetupExited = errors.New("reactor: setup has ended its goroutine")

func (t *thread) open(cfg ringConfig) error {
	cfg.thread = true
	q, err := cfg.open()
	if err != nil {
		return err
	}
	if t.efd, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		q.close()
		return newSetupError("eventfd", err)
	}
	t.driver = newDriver(q)
	t.driver.onTag = t.tagged
	t.driver.kick = func(*driver) { t.wakeUp() }
	return nil
}

func (t *thread) close() {
	t.q.close()
	unix.Close(t.efd)
}

func (t *thread) userData() uint64 { return uint64(t.gen)<<32 | wakeTag }

// tagged handles the completion of the eventfd's read. The caller holds mu.
func (t *thread) tagged(c completion) bool {
	if !t.armed || c.userData != t.userData() {
		return false
	}
	t.gen++
	t.armed = false
	return true
}

// wakeUp gets the thread out of its sleep, if it sleeps.
func (t *thread) wakeUp() {
	if t.asleep.Load() && t.asleep.Swap(false) {
		t.signal()
	}
}

func (t *thread) signal() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	for {
		if _, err := unix.Write(t.efd, one[:]); err != syscall.EINTR {
			return // only EAGAIN at 2^64-2 unread signals, and then it is awake
		}
	}
}

// submit hands an operation over; see driver.add. It reports false when the
// driver takes nothing more.
func (t *thread) submit(op *Op, w Waker, f *File, buf *buffer, in *admission) (id EventID, ok bool) {
	t.mu.Lock()
	if t.closing {
		t.mu.Unlock()
		return EventID{}, false
	}
	s := t.add(op, w, f, buf, in)
	if c, isCall := w.(*call); isCall {
		c.slot, c.parked = s, true
	}
	t.arm(s)
	id = t.id(s)
	t.mu.Unlock()
	t.wakeUp()
	return id, true
}

// turn submits what is queued, waits for a completion if there is nothing else
// to do, at most for timeout if that is positive, and reaps. It runs on the
// thread. It reports whether the driver is drained and closing.
func (t *thread) turn(timeout time.Duration, tries *int) (over bool) {
	t.mu.Lock()
	t.reap()
	t.fill()
	done := t.closing && t.inFlight == 0 && (t.live == nil || !t.live())
	switch {
	case done && (!t.armed || t.broken != 0): // a broken ring's read ends with the ring
		t.unlockAndWake()
		return true
	case done: // the read of the eventfd has to end too
		t.signal()
	case !t.armed && t.broken == 0:
		t.arming()
	}
	wait := uint32(0)
	if t.backlog.head == nil && len(t.cancels) == 0 && len(t.woken) == 0 && (t.armed || t.broken != 0) {
		// In this order: what becomes ready from here on finds asleep set.
		t.asleep.Store(true)
		if t.ready == nil || !t.ready() {
			wait = 1
		}
	}
	if t.broken != 0 {
		t.unlockAndWake()
		if wait > 0 {
			t.doze(timeout)
		}
		t.asleep.Store(false)
		return false
	}
	t.unlockAndWake()
	errno := syscall.Errno(0)
	if n := 0; wait > 0 || t.q.queued() > 0 || t.q.needsFlush() {
		n, errno = t.q.enter(wait, timeout)
		t.mu.Lock()
		t.consume(n)
	} else {
		t.mu.Lock()
	}
	t.asleep.Store(false)
	t.reap()
	t.unlockAndWake()
	if errno != 0 {
		*tries = t.failed(errno, *tries)
	} else {
		*tries = 0
	}
	return false
}

// brokenPause is how often a thread whose ring cannot be entered looks for what is
// new, as nothing tells it.
const brokenPause = time.Millisecond

// doze is the waiting part of turn for a thread whose ring is broken: what comes
// fails, and the rest goes on. A wait for efd would not do, as the ring may still
// be reading that.
func (t *thread) doze(timeout time.Duration) {
	pause := brokenPause
	if timeout > 0 {
		pause = min(pause, timeout)
	}
	time.Sleep(pause)
}

// push submits what is queued and reaps, without waiting. It runs on the
// thread, which holds mu; mu is released across the system call.
func (t *thread) push() {
	t.fill()
	t.mu.Unlock()
	n, errno := t.q.enter(0, 0)
	if errno != 0 {
		t.failed(errno, 0) // what was not taken goes out with the next turn
	}
	t.mu.Lock()
	t.consume(n)
	t.reap()
}

// arming puts the read of the eventfd into the submission queue. The caller holds mu.
func (t *thread) arming() {
	e := t.q.next()
	if e == nil {
		return // the next turn has room
	}
	prepareRead(e, t.efd, t.counter[:])
	e.SetUserData(t.userData())
	t.filled = append(t.filled, t.userData())
	t.armed = true
}

func prepareRead(e *sqe, fd int, p []byte) {
	s := slot{op: Op{Code: OpRead, FD: fd, Buf: p, Off: AtPosition}}
	s.prepare(e)
}

// threadRingFlags are for rings that one thread enters: completions are only
// processed when it asks for them, which batches them.
const (
	threadRingFlags    = setupSingleIssuer | setupDeferTaskrun | sys.IORING_SETUP_TASKRUN_FLAG
	threadRingOptional = threadRingFlags | sys.IORING_SETUP_COOP_TASKRUN
)
