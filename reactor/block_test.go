package reactor

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Each of many goroutines blocks, and within that blocks again: no more than the
// bound run at once, and none waits for its own place.
func TestBlockBoundsGoroutinesAndNests(t *testing.T) {
	const bound = 3
	r := newTestReactor(t, Config{Blockers: bound})
	if r.blockers.inside.has() {
		t.Skip("goroutines cannot be told apart on " + runtime.GOARCH)
	}
	var running, most, ran atomic.Int32
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			r.Block(func() {
				n := running.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				runtime.Gosched()
				r.Block(func() { ran.Add(1) })
				running.Add(-1)
			})
		})
	}
	wg.Wait()
	if ran.Load() != 500 || most.Load() > bound {
		t.Errorf("%d ran, %d at once, bound %d", ran.Load(), most.Load(), bound)
	}
	func() {
		defer func() { recover() }()
		r.Block(func() { panic("of the caller") })
	}()
	if r.blockers.inside.has() || len(r.blockers.here) != 0 {
		t.Error("a panic kept its place")
	}
}

// Any number of tasks may wait for what a call of Block brings about.
func TestWaitTakesNoPlaceOfBlock(t *testing.T) {
	const bound, waiting = 2, 50
	r := newTestReactor(t, Config{Blockers: bound})
	e := newTestExecutor(t, ExecutorConfig{})
	come := make(chan struct{})
	var here, gone atomic.Int32
	var wg sync.WaitGroup
	wait := func() {
		r.Wait(func() {
			here.Add(1)
			<-come
		})
		gone.Add(1)
	}
	for range waiting {
		wg.Go(wait)
		if err := e.Spawn(func(*Task) { wait() }); err != nil {
			t.Fatal(err)
		}
	}
	for here.Load() < 2*waiting {
		runtime.Gosched()
	}
	if err := e.Spawn(func(*Task) { r.Block(func() { close(come) }) }); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if err := e.Run(); err != nil || gone.Load() != 2*waiting {
		t.Errorf("%d of %d waited to the end, %v", gone.Load(), 2*waiting, err)
	}
}
