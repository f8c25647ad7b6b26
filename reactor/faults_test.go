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

var seeds = flag.Int("seeds", 12, "how many seeds the fault injection tests run; scripts/soak runs thousands")

// fakeReactor is a reactor on fake rings with one file of size bytes, descriptor 1000.
func fakeReactor(t testing.TB, seed uint64, f faults, size int, cfg Config) (*Reactor, *File, *fakeFile) {
	backing := &fakeFile{data: make([]byte, size)}
	n := uint64(0)
	cfg.Rings = 3
	cfg.Limits = NewLimits(64, 1<<20) // callers wait for room
	if seed%2 == 1 {
		cfg.Limits = NewLimits(4096, 64<<20) // there is so much that they go the short way
	}
	cfg.newQueue = func(ringConfig) (queue, error) {
		n++
		return newFakeRing(t, seed*100+n, f, map[int32]*fakeFile{1000: backing}), nil
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	file := &File{r: r, fd: 1000, class: ClassInline}
	file.pins.Store(1)
	return r, file, backing
}

// Whatever the ring does, each operation ends exactly once, with the bytes that
// it says it moved, and its buffer is left alone afterwards.
func TestOperationsSurviveAnyRing(t *testing.T) {
	profiles := map[string]faults{
		"reordered": {late: 900},
		"short":     {short: 500, late: 300},
		"refusing":  {enterError: 400, enterShort: 300, late: 300},
		"spurious":  {spurious: 400, late: 500},
		"failing":   {fail: 200, again: 200, late: 400},
		"everything": {enterError: 150, enterShort: 150, late: 500, short: 200, again: 150, fail: 50,
			spurious: 100, deaf: 300},
	}
	for name, f := range profiles {
		for seed := range uint64(*seeds) {
			t.Run(fmt.Sprintf("%s/%d", name, seed), func(t *testing.T) { surviveRing(t, seed, f) })
		}
	}
}

func surviveRing(t *testing.T, seed uint64, f faults) {
	const workers, ops, region = 24, 60, 4096
	goroutines := runtime.NumGoroutine()
	r, file, _ := fakeReactor(t, seed, f, workers*region, Config{})
	var wg sync.WaitGroup
	var performed atomic.Int64
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(w)))
			want := make([]byte, region)
			for range ops {
				faultyOp(t, rng, file, want, int64(w*region))
				performed.Add(1)
			}
		})
	}
	wg.Wait()
	s := r.Stats()
	if s.InFlight != 0 || s.InFlightBytes != 0 || s.Held != 0 {
		t.Errorf("left over: %+v", s)
	}
	if s.Completed != uint64(performed.Load()) {
		t.Errorf("%d completions of %d operations", s.Completed, performed.Load())
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	goroutinesSettle(t, goroutines)
}

// faultyOp does one operation on [base, base+len(want)) and checks it; want is
// what the file holds there.
func faultyOp(t *testing.T, rng *rand.Rand, file *File, want []byte, base int64) {
	ctx := context.Background()
	if rng.IntN(4) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(300))*time.Microsecond)
		defer cancel()
	}
	off := rng.IntN(len(want))
	p := make([]byte, rng.IntN(len(want)-off)+1)
	write := rng.IntN(2) == 0
	var n int
	var err error
	if write {
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		n, err = file.WriteAt(ctx, p, base+int64(off))
		copy(want[off:], p[:n])
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
	r, file, _ := fakeReactor(t, 1, faults{}, 64, Config{})
	for _, d := range r.rings {
		for d.q.next() != nil {
			d.filled = append(d.filled, nil)
		}
	}
	for range 2 * len(r.rings) {
		if n, err := file.WriteAt(context.Background(), make([]byte, 64), 0); n != 64 || err != nil {
			t.Error(n, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// A ring that fails for good fails its operations, with the reason, and does
// not keep them for ever.
func TestBrokenRingFailsItsOperations(t *testing.T) {
	for seed := range uint64(*seeds) {
		r, file, _ := fakeReactor(t, seed, faults{fatal: 100, late: 300}, 4096, Config{})
		failed := 0
		for range 200 {
			if _, err := file.ReadAt(context.Background(), make([]byte, 16), 0); err != nil {
				if !errors.Is(err, syscall.EBADF) {
					t.Fatal(err)
				}
				failed++
			}
		}
		if failed == 0 {
			t.Error("no operation failed on a broken ring")
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// passing are the errnos of io_uring_enter after which it is tried again; after
// any other the ring is given up.
var passing = map[syscall.Errno]bool{
	syscall.EINTR: true, syscall.EAGAIN: true, syscall.EBUSY: true, syscall.EBADR: true, syscall.ETIME: true,
}

const lastErrno = 133 // EHWPOISON

// Whatever errno a submission fails with, no operation is lost or done twice: it
// is performed when the ring takes it after all, or ends with that errno.
func TestEveryErrnoOfSubmission(t *testing.T) {
	for errno := syscall.Errno(1); errno <= lastErrno; errno++ {
		t.Run(fmt.Sprint(int(errno)), func(t *testing.T) { failSubmission(t, errno) })
	}
}

func failSubmission(t *testing.T, errno syscall.Errno) {
	const callers = 8
	goroutines := runtime.NumGoroutine()
	r, file, backing := fakeReactor(t, uint64(errno), faults{}, callers, Config{})
	for _, d := range r.rings {
		d.q.(*fakeRing).refusals = []syscall.Errno{errno, errno, errno}
	}
	var wg sync.WaitGroup
	var done, failed [callers]bool
	for i := range callers {
		wg.Go(func() {
			n, err := file.WriteAt(context.Background(), []byte{'x'}, int64(i))
			done[i], failed[i] = n == 1 && err == nil, n == 0 && errors.Is(err, errno)
			if !done[i] && !failed[i] {
				t.Errorf("write: %d, %v", n, err)
			}
		})
	}
	wg.Wait()
	written := bytes.Count(backing.data, []byte{'x'})
	for i := range callers {
		if passing[errno] != done[i] || done[i] != (backing.data[i] == 'x') {
			t.Errorf("write %d: done %v, failed %v, in the file %v", i, done[i], failed[i], backing.data[i] == 'x')
		}
	}
	if s := r.Stats(); s.Completed != callers || s.BytesWritten != uint64(written) || s.InFlight != 0 || s.InFlightBytes != 0 {
		t.Errorf("left over: %+v", s)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	goroutinesSettle(t, goroutines)
}

// A waker's event comes exactly once, also when cancels and deadlines race
// with completions.
func TestWakersAreWokenOnce(t *testing.T) {
	for seed := range uint64(*seeds) {
		r, _, _ := fakeReactor(t, seed, faults{late: 700, again: 100, spurious: 200, deaf: 300, enterError: 100}, 4096, Config{})
		rng := rand.New(rand.NewPCG(seed, 99))
		const n = 300
		counts := make([]countingWaker, n)
		for i := range counts {
			op := Op{Code: OpRead, FD: 1000, Buf: make([]byte, 64), Timeout: time.Duration(rng.IntN(2)*rng.IntN(100)) * time.Microsecond}
			file := &File{r: r, fd: 1000, class: ClassInline}
			file.pins.Store(2)
			id, err := r.register(context.Background(), &op, &counts[i], file, nil)
			if err != nil {
				t.Fatal(err)
			}
			if rng.IntN(3) == 0 {
				r.Cancel(id)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		for i := range counts {
			if c := counts[i].n.Load(); c != 1 {
				t.Errorf("seed %d: waker %d woken %d times", seed, i, c)
			}
		}
	}
}

type countingWaker struct{ n atomic.Int32 }

func (w *countingWaker) Wake(Event) { w.n.Add(1) }

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
