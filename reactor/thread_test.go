package reactor

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestEnterMovesOverflowIn: a thread that always has something to do never waits,
// and must get its completions all the same. Rings of kernels before 6.1 have no
// DEFER_TASKRUN, with which every enter would see to that.
func TestEnterMovesOverflowIn(t *testing.T) {
	cfg := ringConfig{entries: 8, completions: 8, workers: workerBounds{1, 1}}
	r, err := newRing(cfg)
	if err != nil {
		t.Skip(err)
	}
	defer r.close()
	const n = 24 // three times what the completion queue holds
	for range n {
		e := r.next()
		e.PrepOperation(uint8(OpNop), -1, 0, 0, 0)
		if _, errno := r.enter(0, 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	if !r.needsFlush() {
		t.Fatal("nothing has overflowed")
	}
	got := 0
	for range n {
		for _, ok := r.peek(); ok; _, ok = r.peek() {
			got++
		}
		if _, errno := r.enter(0, 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	if got != n || r.needsFlush() {
		t.Errorf("%d completions of %d", got, n)
	}
}

// TestThreadOutlivesItsRing: where the kernel refuses every enter, operations
// fail with its errno and the thread still ends when it is told to.
func TestThreadOutlivesItsRing(t *testing.T) {
	th, err := startThread(ringConfig{entries: 8, completions: 64, workers: workerBounds{1, 1}},
		func(t *thread) error { r := t.q.(*ring); r.enterFD, r.enterFlags = -1, 0; return nil },
		func(t *thread) {
			for tries := 0; !t.turn(0, &tries); {
			}
		})
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for range 3 {
		c := newCall()
		id, ok := th.submit(&Op{Code: OpRead, FD: int(file.Fd()), Buf: make([]byte, 1)}, c, nil, nil, nil)
		if !ok {
			t.Fatal("not taken")
		}
		if ev := c.wait(context.Background(), id, patience{}); !errors.Is(ev.Err, syscall.EBADF) {
			t.Errorf("ended with %v", ev.Err)
		}
		c.free()
	}
	th.stopAll()
	select {
	case <-th.ended:
	case <-time.After(time.Minute):
		t.Fatal("the thread does not end")
	}
}
