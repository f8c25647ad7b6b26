package reactor

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"
)

// TestThreadOutlivesItsRing: where the kernel refuses every enter, operations
// fail with its errno and the thread still ends when it is told to.
func TestThreadOutlivesItsRing(t *testing.T) {
	th, err := startThread(ringConfig{entries: 8, completions: 64, workers: workerBounds{1, 1}}, nil,
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
		id, ok := th.submit(&Op{Code: OpRead, FD: int(file.Fd()), Buf: make([]byte, 1)}, c, nil, nil)
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
