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

// allRead waits for n results.
func allRead(t *testing.T, results <-chan error, n int) {
	t.Helper()
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
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
	allRead(t, results, 3)
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
	allRead(t, results, 5)
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
	for end := time.Now().Add(time.Minute); r.Stats().Waiting < 92; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", r.Stats())
		}
	}
	if n := e.t.blocking.Load(); n != 8 {
		t.Errorf("%d on the ring of 8 workers", n)
	}
	command("release")
	allRead(t, results, 100)
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
	allRead(t, results, 20)
}

// What finds no worker waits for any of them, and not behind what hangs.
func TestReadsThatWaitedGoToWhateverWorkerIsFree(t *testing.T) {
	hungPath, hung := slowBacking(t, 1<<20)
	path, command := slowBacking(t, 1<<20)
	r := newTestReactor(t, Config{})
	w := NewWorkers(16, 2)
	a, b := withWorkers(t, w), withWorkers(t, w)
	hung("hang")
	defer hung("release")
	hanging := spawnReads(t, context.Background(), a, openPath(t, r, hungPath), 8)
	awaitHanging(t, hungPath, 8)
	command("hang")
	defer command("release")
	f := openPath(t, r, path)
	others := spawnReads(t, context.Background(), b, f, 8)
	awaitHanging(t, path, 8)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	waited := spawnReads(t, ctx, a, f, 1)
	for end := time.Now().Add(time.Minute); r.Stats().Waiting < 1; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", r.Stats())
		}
	}
	command("release")
	if err := <-waited; err != nil {
		t.Error(err)
	}
	allRead(t, others, 8)
	hung("release")
	allRead(t, hanging, 8)
	if ops, _ := w.room.InUse(); ops != 0 || a.t.blocking.Load() != 0 || b.t.blocking.Load() != 0 {
		t.Errorf("%d, %d and %d workers occupied for ever", ops, a.t.blocking.Load(), b.t.blocking.Load())
	}
}

// A file that was closed under a read that hung is closed when that ends, which may
// hang in turn, and not on the thread of the tasks.
func TestACloseThatHangsHoldsNoTask(t *testing.T) {
	path, command := slowBacking(t, 1<<20)
	r := newTestReactor(t, Config{})
	f := openPath(t, r, path)
	e := withWorkers(t, NewWorkers(4, 1))
	command("interrupt ignore")
	command("ops read")
	command("delay 500ms")
	ctx, cancel := context.WithCancel(context.Background())
	results := spawnReads(t, ctx, e, f, 1)
	awaitHanging(t, path, 1)
	cancel()
	if err := <-results; !errors.Is(err, syscall.EINTR) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	command("ops flush")
	command("hang")
	defer command("release")
	for end := time.Now().Add(time.Minute); r.Stats().Held > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the read does not end")
		}
	}
	awaitHanging(t, path, 1)
	done := make(chan struct{})
	if err := e.Spawn(func(*Task) { close(done) }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("the tasks stand still")
	}
}
