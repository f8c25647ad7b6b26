package reactor

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var seeds = flag.Int("seeds", 5, "how many seeds the fault injection tests run; scripts/soak runs hundreds")

// The ways for an operation to come to a ring.
const (
	byRings = "rings" // of a reactor, which its callers enter
	byLane  = "lane"  // the thread for blocking backings
	byTasks = "tasks" // the ring of their executor
)

var allWays = []string{byRings, byLane, byTasks}

// fakes is a reactor, and an executor if tasks are the way, on fake rings with one
// file, descriptor 1000.
type fakes struct {
	t       testing.TB
	way     string
	r       *Reactor
	e       *Executor
	file    *File
	backing *fakeFile
	rings   []*fakeRing // of that way
	callers sync.WaitGroup
}

func newFakes(t testing.TB, way string, seed uint64, f faults, size int, cfg Config) *fakes {
	s := &fakes{t: t, way: way, backing: &fakeFile{data: make([]byte, size)}}
	cfg.Rings = 3
	cfg.Limits = NewLimits(64, 1<<20) // callers wait for room
	if seed%2 == 1 {
		cfg.Limits = NewLimits(4096, 64<<20) // there is so much that they go the short way
	}
	n := uint64(0)
	cfg.newQueue = func(rc ringConfig) (queue, error) {
		n++
		q := newFakeRing(t, seed*100+n, f, map[int32]*fakeFile{1000: s.backing})
		if rc.thread == (way != byRings) {
			s.rings = append(s.rings, q)
		}
		return q, nil
	}
	var err error
	if s.r, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	s.file = &File{r: s.r, fd: 1000, class: ClassInline}
	s.file.pins.Store(1)
	switch way {
	case byLane:
		s.file.class = ClassBlocking
		_, err = s.r.slowLane()
	case byTasks:
		s.e, err = NewExecutor(ExecutorConfig{Commands: true, newQueue: cfg.newQueue})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call runs fn, which performs operations, on a goroutine or as a task.
func (s *fakes) call(fn func()) {
	s.callers.Add(1)
	counted := func() { defer s.callers.Done(); fn() }
	if s.e == nil {
		go counted() // wait awaits it
		return
	}
	if err := s.e.Spawn(func(*Task) { counted() }); err != nil {
		s.t.Error(err)
		s.callers.Done()
	}
}

// wait awaits the callers. An operation that was lost leaves one of them waiting.
func (s *fakes) wait() {
	s.t.Helper()
	over := make(chan struct{})
	go func() { s.callers.Wait(); close(over) }()
	inTime(s.t, over)
}

// inTime waits for over to be closed, and if that takes too long shows where
// everybody is.
func inTime(t testing.TB, over <-chan struct{}) {
	t.Helper()
	select {
	case <-over:
	case <-time.After(time.Minute):
		stacks := make([]byte, 1<<20)
		t.Fatalf("hangs:\n%s", stacks[:runtime.Stack(stacks, true)])
	}
}

func (s *fakes) close() {
	s.t.Helper()
	over := make(chan struct{})
	go func() {
		defer close(over)
		if s.e != nil {
			if err := s.e.Close(); err != nil {
				s.t.Error(err)
			}
		}
		if err := s.r.Close(); err != nil {
			s.t.Error(err)
		}
	}()
	inTime(s.t, over)
}

// stats waits for what nobody waits for any more, and reads the counters.
func (s *fakes) stats(t *testing.T) Stats {
	t.Helper()
	nothingHeld(t, s.r)
	return s.r.Stats()
}

// onFakes runs test for every way and as many seeds.
func onFakes(t *testing.T, ways []string, seeds int, test func(t *testing.T, way string, seed uint64)) {
	for _, way := range ways {
		for seed := range uint64(seeds) {
			t.Run(fmt.Sprintf("%s/%d", way, seed), func(t *testing.T) { test(t, way, seed) })
		}
	}
}

// Whatever the ring does, each operation ends exactly once, with the bytes that
// it says it moved, and its buffer is left alone afterwards.
func TestOperationsSurviveAnyRing(t *testing.T) {
	profiles := map[string]faults{
		"reordered": {late: 900},
		"short":     {short: 500, late: 300},
		"refusing":  {enterError: 400, enterShort: 300, late: 300},
		"waking":    {early: 700, again: 300, late: 700},
		"spurious":  {spurious: 400, late: 500},
		"failing":   {fail: 200, again: 200, late: 400},
		"everything": {enterError: 150, enterShort: 150, early: 150, late: 500, short: 200, again: 150, fail: 50,
			spurious: 100, deaf: 300},
	}
	for name, f := range profiles {
		t.Run(name, func(t *testing.T) {
			onFakes(t, allWays, *seeds, func(t *testing.T, way string, seed uint64) { surviveRing(t, way, seed, f) })
		})
	}
}

func surviveRing(t *testing.T, way string, seed uint64, f faults) {
	const workers, ops, region = 24, 60, 4096
	goroutines := runtime.NumGoroutine()
	s := newFakes(t, way, seed, f, workers*region, Config{})
	var performed atomic.Int64
	for w := range workers {
		s.call(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			want := make([]byte, region)
			for range ops {
				faultyOp(t, rng, s.file, want, int64(w*region))
				performed.Add(1)
			}
		})
	}
	s.wait()
	stats := s.stats(t)
	if stats.InFlight != 0 || stats.InFlightBytes != 0 || stats.Held != 0 {
		t.Errorf("left over: %+v", stats)
	}
	if stats.Completed != uint64(performed.Load()) {
		t.Errorf("%d completions of %d operations", stats.Completed, performed.Load())
	}
	if f.spurious > 0 && stats.Spurious == 0 {
		t.Error("no spurious completion was seen")
	}
	s.close()
	goroutinesSettle(t, goroutines)
}

// faultyOp does one operation on [base, base+len(want)) and checks it; want is
// what the file holds there.
func faultyOp(t *testing.T, rng *rand.Rand, file *File, want []byte, base int64) {
	ctx := context.Background()
	off := rng.IntN(len(want))
	p := make([]byte, rng.IntN(len(want)-off)+1)
	write := rng.IntN(2) == 0
	// On a blocking backing a write that was given up may still be made.
	if rng.IntN(4) == 0 && !(write && file.class == ClassBlocking) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(300))*time.Microsecond)
		defer cancel()
	}
	var n int
	var err error
	bufs := [][]byte{p[:len(p)/3], nil, p[len(p)/3:]}
	vectored := rng.IntN(4) == 0
	if write {
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		if vectored {
			n, err = file.WritevAt(ctx, bufs, base+int64(off))
		} else {
			n, err = file.WriteAt(ctx, p, base+int64(off))
		}
		copy(want[off:], p[:n])
	} else if vectored {
		n, err = file.ReadvAt(ctx, bufs, base+int64(off))
	} else {
		n, err = file.ReadAt(ctx, p, base+int64(off))
	}
	switch {
	case err == nil && n != len(p):
		t.Errorf("%d bytes of %d without an error", n, len(p))
	case err != nil && !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ETIMEDOUT) && !errors.Is(err, syscall.EINTR) && !errors.Is(err, syscall.EAGAIN):
		t.Errorf("unexpected error %v", err)
	}
	if !write && !bytes.Equal(p[:n], want[off:off+n]) {
		t.Errorf("read at %d: wrong data", off)
	}
	for i := range p {
		p[i] = canary
	}
	runtime.Gosched()
	for _, b := range p {
		if b != canary {
			t.Error("buffer touched after it was given back")
			return
		}
	}
}

// A submission queue that is full when an operation comes is no failure: what is
// there goes out first.
func TestFullSubmissionQueueDelaysOnly(t *testing.T) {
	s := newFakes(t, byRings, 1, faults{}, 64, Config{})
	for _, d := range s.r.rings {
		for e := d.q.next(); e != nil; e = d.q.next() {
			e.PrepOperation(uint8(OpNop), -1, 0, 0, 0)
			e.SetUserData(cancelTag)
			d.filled = append(d.filled, cancelTag)
		}
	}
	for range 2 * len(s.r.rings) {
		if n, err := s.file.WriteAt(context.Background(), make([]byte, 64), 0); n != 64 || err != nil {
			t.Error(n, err)
		}
	}
	s.close()
}

// A ring that fails for good fails its operations, with the reason, and does
// not keep them for ever; what the kernel has taken before still ends well.
func TestBrokenRingFailsItsOperations(t *testing.T) {
	onFakes(t, allWays, *seeds, func(t *testing.T, way string, seed uint64) {
		s := newFakes(t, way, seed, faults{fatal: 30, late: 500, deaf: 300}, 4096, Config{})
		var failed atomic.Int64
		for w := range 20 {
			s.call(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(w)))
				for range 100 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(2000))*time.Microsecond)
					if _, err := s.file.ReadAt(ctx, make([]byte, 16), 0); errors.Is(err, syscall.EBADF) {
						failed.Add(1)
					} else if err != nil && !errors.Is(err, syscall.ETIMEDOUT) {
						t.Error(err)
					}
					cancel()
				}
			})
		}
		s.wait()
		if failed.Load() == 0 {
			t.Error("no operation failed on a broken ring")
		}
		s.close()
	})
}

// As long as a ring works the broken ones are left alone; when all are broken
// operations fail at once, each with its ring's reason.
func TestOperationsKeepToWholeRings(t *testing.T) {
	s := newFakes(t, byRings, 1, faults{}, 4096, Config{})
	read := func() error {
		var failed [10]error
		for i := range failed { // at once: there is a queue for the rings
			s.call(func() {
				n, err := s.file.ReadAt(context.Background(), make([]byte, 4096), 0)
				if failed[i] = err; err == nil && n != 4096 {
					t.Errorf("read %d bytes", n)
				}
			})
		}
		s.wait()
		return errors.Join(failed[:]...)
	}
	for i, q := range s.rings {
		if err := read(); err != nil {
			t.Errorf("with %d broken rings of %d: %v", i, len(s.rings), err)
		}
		q.refuse(syscall.EOPNOTSUPP)
		for !s.r.rings[i].shut.Load() {
			read()
		}
	}
	for range 3 {
		if err := read(); !errors.Is(err, syscall.EOPNOTSUPP) {
			t.Errorf("with all rings broken: %v", err)
		}
	}
	s.close()
}

// Who waits for a ring gets none that is broken, unless all are.
func TestBrokenRingGoesToNobody(t *testing.T) {
	s := newFakes(t, byRings, 1, faults{}, 16, Config{})
	broken, whole := s.r.rings[:2], s.r.rings[2]
	for _, d := range broken {
		d.failed(syscall.EBADF, 0)
	}
	if !whole.take() {
		t.Fatal("the ring is taken")
	}
	if d := s.r.tryAcquire(); d != nil {
		t.Error("a broken ring was taken while the other was only busy")
	}
	got := make(chan *driver)
	go func() { got <- s.r.acquire() }() // received below
	for s.r.waiting.Load() == 0 {
		runtime.Gosched()
	}
	for _, d := range broken {
		if d.take() {
			s.r.release(d)
		}
	}
	if s.r.waiting.Load() == 0 {
		t.Error("a broken ring was handed to who waits")
	}
	s.r.release(whole)
	if d := <-got; d != whole {
		t.Error("another ring was handed over")
	}
	whole.failed(syscall.EBADF, 0)
	go func() { got <- s.r.acquire() }() // received below
	s.r.release(<-got)
	s.r.release(whole)
	s.close()
}

// Completions that have overflowed on a ring that nobody can enter any more are
// lost, but do not keep its owner.
func TestOverflowOfABrokenRingHoldsNobody(t *testing.T) {
	s := newFakes(t, byRings, 1, faults{}, 16, Config{})
	for _, q := range s.rings {
		q.overflow = append(q.overflow, completion{userData: cancelTag})
		q.dead = syscall.EBADF
	}
	s.call(func() {
		if _, err := s.file.ReadAt(context.Background(), make([]byte, 16), 0); !errors.Is(err, syscall.EBADF) {
			t.Error(err)
		}
	})
	s.wait()
	s.close()
}

// A thread that always has a task to run, and so never waits, gets what has
// overflowed all the same.
func TestBusyThreadGetsItsOverflow(t *testing.T) {
	s := newFakes(t, byTasks, 1, faults{}, 16, Config{})
	const reads = 30 // the completion queue holds 8
	done := 0
	for range reads {
		s.call(func() {
			if n, err := s.file.ReadAt(context.Background(), make([]byte, 16), 0); n != 16 || err != nil {
				t.Error(n, err)
			}
			done++
		})
	}
	s.call(func() {
		for done < reads {
			Current().Yield()
		}
	})
	s.wait()
	s.close()
}

// passing are the errnos of io_uring_enter after which it is tried again; after
// any other the ring is given up.
var passing = map[syscall.Errno]bool{
	syscall.EINTR: true, syscall.EAGAIN: true, syscall.ENOMEM: true, syscall.EBUSY: true, syscall.EBADR: true, syscall.ETIME: true,
}

const lastErrno = 133 // EHWPOISON

// Whatever errno a submission fails with, no operation is lost or done twice: it
// is performed when the ring takes it after all, or ends with that errno.
func TestEveryErrnoOfSubmission(t *testing.T) {
	for _, way := range allWays {
		for errno := syscall.Errno(1); errno <= lastErrno; errno++ {
			t.Run(fmt.Sprintf("%s/%d", way, int(errno)), func(t *testing.T) { failSubmission(t, way, errno) })
		}
	}
}

func failSubmission(t *testing.T, way string, errno syscall.Errno) {
	const callers = 8
	goroutines := runtime.NumGoroutine()
	s := newFakes(t, way, uint64(errno), faults{}, callers, Config{})
	for _, q := range s.rings {
		q.refuse(errno, errno, errno)
	}
	var done, failed [callers]bool
	for i := range callers {
		s.call(func() {
			n, err := s.file.WriteAt(context.Background(), []byte{'x'}, int64(i))
			done[i], failed[i] = n == 1 && err == nil, n == 0 && errors.Is(err, errno)
			if !done[i] && !failed[i] {
				t.Errorf("write: %d, %v", n, err)
			}
		})
	}
	s.wait()
	written := bytes.Count(s.backing.data, []byte{'x'})
	for i := range callers {
		if passing[errno] != done[i] || done[i] != (s.backing.data[i] == 'x') {
			t.Errorf("write %d: done %v, failed %v, in the file %v", i, done[i], failed[i], s.backing.data[i] == 'x')
		}
	}
	if stats := s.stats(t); stats.Completed != callers || stats.BytesWritten != uint64(written) || stats.InFlight != 0 || stats.InFlightBytes != 0 {
		t.Errorf("left over: %+v", stats)
	}
	s.close()
	goroutinesSettle(t, goroutines)
}

// A waker's event comes exactly once, also when cancels and deadlines race
// with completions and the reactor is closed meanwhile.
func TestWakersAreWokenOnce(t *testing.T) {
	onFakes(t, []string{byRings, byLane}, *seeds, func(t *testing.T, way string, seed uint64) {
		s := newFakes(t, way, seed, faults{late: 700, again: 100, spurious: 200, deaf: 300, enterError: 100, early: 100}, 4096, Config{})
		rng := rand.New(rand.NewPCG(seed, 99))
		const n = 300
		counts := make([]countingWaker, n)
		for i := range counts {
			op := Op{Code: OpRead, FD: 1000, Buf: make([]byte, 64), Timeout: time.Duration(rng.IntN(2)*rng.IntN(100)) * time.Microsecond}
			s.file.pins.Add(1)
			id, err := s.r.register(context.Background(), &op, &counts[i], s.file, nil)
			if err != nil {
				t.Fatal(err)
			}
			if rng.IntN(3) == 0 {
				s.r.Cancel(id)
			}
		}
		s.close()
		for i := range counts {
			if c := counts[i].n.Load(); c != 1 {
				t.Errorf("waker %d woken %d times", i, c)
			}
		}
	})
}

type countingWaker struct{ n atomic.Int32 }

func (w *countingWaker) Wake(Event) { w.n.Add(1) }

// Close in the middle of everything ends each operation, and none is left with
// the kernel when the ring goes (the fake ring looks).
func TestCloseOnAnyRing(t *testing.T) {
	onFakes(t, allWays, *seeds, func(t *testing.T, way string, seed uint64) {
		goroutines := runtime.NumGoroutine()
		s := newFakes(t, way, seed, faults{late: 800, again: 100, short: 200, spurious: 100, deaf: 300, enterError: 100, enterShort: 100, early: 100}, 4096, Config{})
		var begun sync.WaitGroup
		begun.Add(20)
		for range 20 {
			s.call(func() {
				for first := true; ; first = false {
					if first {
						begun.Done()
					}
					_, err := s.file.ReadAt(context.Background(), make([]byte, 64), 0)
					if errors.Is(err, ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, syscall.EINTR) && !errors.Is(err, syscall.EAGAIN) {
						t.Error(err)
					}
				}
			})
		}
		begun.Wait()
		s.close()
		s.wait()
		goroutinesSettle(t, goroutines)
	})
}

// A task sleeps as long as it wants to, however often the kernel wakes its thread.
func TestEarlyWakeUpsEndNoSleep(t *testing.T) {
	s := newFakes(t, byTasks, 1, faults{early: 900, again: 500}, 0, Config{})
	for i := range 20 {
		s.call(func() {
			d := time.Duration(i) * 100 * time.Microsecond
			start := time.Now()
			if err := Current().Sleep(context.Background(), d); err != nil {
				t.Error(err)
			}
			if slept := time.Since(start); slept < d {
				t.Errorf("slept for %v instead of %v", slept, d)
			}
		})
	}
	s.wait()
	s.close()
}

// A reaper that gets its signal and is then put aside for longer than it means
// to look still looks once. It did not: a write on ext4 hung for good.
func TestReaperThatComesLateStillReaps(t *testing.T) {
	r, err := New(Config{Rings: 1, newQueue: func(ringConfig) (queue, error) {
		return unsignalled{newFakeRing(t, 1, faults{late: 1000}, map[int32]*fakeFile{1000: {data: make([]byte, 8)}})}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	file := &File{r: r, fd: 1000, class: ClassInline}
	file.pins.Store(1)
	over := make(chan struct{})
	go func() { // ends when the read is reaped, below
		defer close(over)
		if _, err := file.ReadAt(context.Background(), make([]byte, 8), 0); err != nil {
			t.Error(err)
		}
	}()
	for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
		select {
		case <-over:
			return
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("never reaped")
		}
		r.reapUntil(time.Time{})
	}
}

// unsignalled is a ring without an eventfd: the reaper of the reactor itself never
// looks.
type unsignalled struct{ *fakeRing }

func (unsignalled) registerEventfd(int) error { return nil }
