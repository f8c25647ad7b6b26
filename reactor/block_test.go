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
