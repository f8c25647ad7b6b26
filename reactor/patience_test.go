package reactor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// questions is a Config.Patience that answers from a list, the last to all further
// questions.
type questions struct {
	answers []time.Duration
	second  func() // called with the second question, may be nil
	op      Opcode
	waited  []time.Duration
}

func (q *questions) ask(_ context.Context, op Opcode, waited time.Duration) time.Duration {
	q.op = op
	q.waited = append(q.waited, waited)
	if len(q.waited) == 2 && q.second != nil {
		q.second()
	}
	return q.answers[min(len(q.waited), len(q.answers))-1]
}

// asGoroutineAndTask runs a test for callers of both kinds, and for both ways to
// the kernel.
func asGoroutineAndTask(t *testing.T, test func(t *testing.T, class Class, do func(func()))) {
	for _, class := range []Class{ClassInline, ClassBlocking} {
		t.Run(fmt.Sprint("goroutine ", class), func(t *testing.T) { test(t, class, func(fn func()) { fn() }) })
		t.Run(fmt.Sprint("task ", class), func(t *testing.T) {
			e := newTestExecutor(t, ExecutorConfig{})
			test(t, class, func(fn func()) {
				spawn(t, e, func(*Task) { fn() })
				run(t, e)
			})
		})
	}
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// The data comes with the second question, whose answer is a minute.
func TestPatienceLetsOperationsFinish(t *testing.T) {
	asGoroutineAndTask(t, func(t *testing.T, class Class, do func(func())) {
		q := questions{answers: []time.Duration{1, time.Minute}}
		r := newTestReactor(t, Config{Patience: q.ask})
		f, w := pipe(t, r, class)
		q.second = func() { unix.Write(w, []byte("x")) }
		do(func() {
			if n, err := f.ReadAt(cancelled(), make([]byte, 1), AtPosition); n != 1 || err != nil {
				t.Error(n, err)
			}
		})
		if want := []time.Duration{0, 1}; q.op != OpRead || !slices.Equal(q.waited, want) {
			t.Errorf("asked about %v after %v, want %v", q.op, q.waited, want)
		}
	})
}

func TestPatienceEnds(t *testing.T) {
	asGoroutineAndTask(t, func(t *testing.T, class Class, do func(func())) {
		q := questions{answers: []time.Duration{1, 1, 0}}
		r := newTestReactor(t, Config{Patience: q.ask})
		f, _ := pipe(t, r, class)
		do(func() {
			if _, err := f.ReadAt(cancelled(), make([]byte, 1), AtPosition); !errors.Is(err, syscall.EINTR) {
				t.Error(err)
			}
		})
		if len(q.waited) != 3 {
			t.Errorf("asked after %v", q.waited)
		}
	})
}

func TestDeadlinesKnowNoPatience(t *testing.T) {
	asGoroutineAndTask(t, func(t *testing.T, class Class, do func(func())) {
		q := questions{answers: []time.Duration{time.Minute}}
		r := newTestReactor(t, Config{Patience: q.ask})
		f, _ := pipe(t, r, class)
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		do(func() {
			if _, err := f.ReadAt(ctx, make([]byte, 1), AtPosition); !errors.Is(err, syscall.ETIMEDOUT) {
				t.Error(err)
			}
		})
		if len(q.waited) != 0 {
			t.Errorf("asked after %v", q.waited)
		}
	})
}

// Who waits for room is no less patient: here until the one operation that there
// is room for ends. Then questions begin anew, if the read is not over at once.
func TestPatienceWhileWaitingForRoom(t *testing.T) {
	asGoroutineAndTask(t, func(t *testing.T, class Class, do func(func())) {
		q := questions{answers: []time.Duration{1, time.Minute}}
		r := newTestReactor(t, Config{Limits: NewLimits(1, 1<<20), Patience: q.ask})
		first, freed := pipe(t, r, class)
		f, w := pipe(t, r, class)
		unix.Write(w, []byte("x"))
		q.second = func() { unix.Write(freed, []byte("x")) }
		fut, err := first.SubmitRead(context.Background(), make([]byte, 1), AtPosition)
		if err != nil {
			t.Fatal(err)
		}
		do(func() {
			if n, err := f.ReadAt(cancelled(), make([]byte, 1), AtPosition); n != 1 || err != nil {
				t.Error(n, err)
			}
		})
		if n, err := fut.Wait(context.Background()); n != 1 || err != nil {
			t.Error(n, err)
		}
		if want := []time.Duration{0, 1}; !slices.Equal(q.waited[:2], want) {
			t.Errorf("asked after %v", q.waited)
		}
	})
}
