package reactor

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

// withWorkers starts an executor that has a share of w.
func withWorkers(t *testing.T, w *Workers) *Executor {
	t.Helper()
	e, err := NewExecutor(ExecutorConfig{Blocking: w})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// spawnReads starts n tasks on e that read 4 KiB of f each, within ctx.
func spawnReads(t *testing.T, ctx context.Context, e *Executor, f *File, n int) (results <-chan error) {
	t.Helper()
	all := make(chan error, n)
	for i := range n {
		err := e.Spawn(func(*Task) {
			_, err := f.ReadAt(ctx, make([]byte, 4096), int64(i)*4096)
			all <- err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestTasksReadsOnABlockingBackingStayOnTheirRing(t *testing.T) {
	path, command := slowBacking(t, 1<<20)
	r := newTestReactor(t, Config{})
	f := openPath(t, r, path)
	e := withWorkers(t, NewWorkers(4, 1))
	command("hang")
	defer command("release")
	results := spawnReads(t, context.Background(), e, f, 3)
	awaitHanging(t, path, 3)
	if s := r.Stats(); r.lane != nil || e.t.blocking.Load() != 3 || s.Blocking != 3 || s.MaxWorkers != 240+30+4 {
		t.Errorf("a lane %v, %d on the ring, %+v", r.lane != nil, e.t.blocking.Load(), s)
	}
	command("release")
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := e.t.blocking.Load(); n != 0 {
		t.Errorf("%d left", n)
	}
	if ops, bytes := r.slow.InUse(); ops != 0 || bytes != 0 {
		t.Errorf("%d operations, %d bytes of the limits left", ops, bytes)
	}
}

func TestAnExecutorWithoutWorkersLeftPassesReadsOn(t *testing.T) {
	path, command := slowBacking(t, 1<<20)
	r := newTestReactor(t, Config{})
	f := openPath(t, r, path)
	w := NewWorkers(6, 2)
	busy, idle := withWorkers(t, w), withWorkers(t, w)
	command("hang")
	defer command("release")
	results := spawnReads(t, context.Background(), busy, f, 5)
	awaitHanging(t, path, 5)
	if own, passed := busy.t.blocking.Load(), idle.t.blocking.Load(); own != 3 || passed != 2 || r.Stats().Blocking != 5 {
		t.Errorf("%d on the own ring, %d passed on", own, passed)
	}
	command("release")
	for range 5 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestReadsBeyondAllWorkersWaitForOne(t *testing.T) {
	path, command := slowBacking(t, 1<<20)
	r := newTestReactor(t, Config{})
	f := openPath(t, r, path)
	e := withWorkers(t, NewWorkers(8, 1))
	command("hang")
	defer command("release")
	results := spawnReads(t, context.Background(), e, f, 100)
	awaitHanging(t, path, 8)
	for end := time.Now().Add(time.Minute); e.t.blocking.Load() < 100; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d in flight", e.t.blocking.Load())
		}
	}
	command("release")
	for range 100 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// A backing that hangs holds neither the tasks whose reads were given up nor who
// takes the executor down.
func TestShutdownOfAnExecutorLeavesBehindWhatHangs(t *testing.T) {
	path, command := slowBacking(t, 1<<20)
	r := newTestReactor(t, Config{})
	f := openPath(t, r, path)
	e := withWorkers(t, NewWorkers(4, 1))
	command("interrupt ignore")
	command("hang")
	ctx, cancel := context.WithCancel(context.Background())
	results := spawnReads(t, ctx, e, f, 2)
	awaitHanging(t, path, 2)
	cancel()
	for range 2 {
		if err := <-results; !errors.Is(err, syscall.EINTR) {
			t.Error(err)
		}
	}
	if err := e.Run(); err != nil {
		t.Error(err)
	}
	if held := r.Stats().Held; held != 2 {
		t.Errorf("%d held", held)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := e.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown while the backing hangs: %v", err)
	}
	if err := e.Spawn(func(*Task) {}); !errors.Is(err, ErrClosed) {
		t.Errorf("spawn: %v", err)
	}
	command("release")
	if err := e.Close(); !errors.Is(err, ErrClosed) { // once what hung has ended
		t.Error(err)
	}
	if s := r.Stats(); s.Held != 0 || s.Blocking != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnExecutorThatIsClosedCarriesNothingMore(t *testing.T) {
	path, _ := slowBacking(t, 1<<20)
	r := newTestReactor(t, Config{})
	f := openPath(t, r, path)
	w := NewWorkers(2, 2)
	a, b := withWorkers(t, w), withWorkers(t, w)
	for _, e := range []*Executor{a, b} {
		if err := <-spawnReads(t, context.Background(), e, f, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	results := spawnReads(t, context.Background(), a, f, 20)
	for range 20 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}
