package reactor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newTestExecutor makes an executor that the test closes.
func newTestExecutor(tb testing.TB, cfg ExecutorConfig) *Executor {
	tb.Helper()
	e, err := NewExecutor(cfg)
	if err != nil {
		if os.Getenv("CI") == "" {
			tb.Skipf("no io_uring here: %v", err)
		}
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil && !errors.Is(err, ErrClosed) {
			tb.Errorf("close: %v", err)
		}
	})
	return e
}

// spawn starts fn on e and fails the test if that is refused.
func spawn(tb testing.TB, e *Executor, fn func(*Task)) {
	tb.Helper()
	if err := e.Spawn(fn); err != nil {
		tb.Fatal(err)
	}
}

// run waits for e's tasks and fails the test if one panicked.
func run(tb testing.TB, e *Executor) {
	tb.Helper()
	if err := e.Run(); err != nil {
		tb.Fatal(err)
	}
}

func TestRunReturnsWhenAllTasksAreOver(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	var over atomic.Int32
	var grow func(depth int) func(*Task)
	grow = func(depth int) func(*Task) {
		return func(task *Task) {
			if depth > 0 {
				task.Spawn(grow(depth - 1))
				task.Spawn(grow(depth - 1))
			}
			task.Yield()
			over.Add(1)
		}
	}
	spawn(t, e, grow(9))
	run(t, e)
	if got := over.Load(); got != 1023 {
		t.Errorf("%d tasks were over, want 1023", got)
	}
	run(t, e) // with none
}

// A Setup that ends its goroutine, as FailNow of a test does, leaves NewExecutor
// with an error and nothing behind. It waited for ever.
func TestSetupThatExits(t *testing.T) {
	goroutines, fds := runtime.NumGoroutine(), countFDs(t)
	_, err := NewExecutor(ExecutorConfig{Setup: func(*Executor) error {
		runtime.Goexit()
		return nil
	}})
	if err == nil {
		t.Error("no error")
	}
	goroutinesSettle(t, goroutines)
	if n := countFDs(t); n != fds {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
}

func TestTasksShareOneThread(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{})
	f := openTemp(t, r, pattern(1<<16, 1), unix.O_RDONLY)
	var mu sync.Mutex
	tids := map[int]bool{}
	for range 100 {
		spawn(t, e, func(task *Task) {
			for range 10 {
				f.ReadAt(context.Background(), make([]byte, 100), 0)
				mu.Lock()
				tids[unix.Gettid()] = true
				mu.Unlock()
			}
			if Current() != task {
				t.Error("Current is not the task that runs")
			}
		})
	}
	run(t, e)
	if len(tids) != 1 {
		t.Errorf("tasks ran on %d threads", len(tids))
	}
	if Current() != nil {
		t.Error("Current is a task outside of any")
	}
}

// TestFileCallsWaitCooperatively blocks half of the tasks on a pipe which the
// other half fills: it ends only if the reads do not hold the thread.
func TestFileCallsWaitCooperatively(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{})
	for i := range 50 {
		var fds [2]int
		if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		in, err := r.Open(fds[0])
		if err != nil {
			t.Fatal(err)
		}
		out, err := r.Open(fds[1])
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("message %d", i)
		spawn(t, e, func(*Task) {
			defer in.Close()
			p := make([]byte, 100)
			n, err := in.ReadAt(context.Background(), p, AtPosition)
			if err != nil || string(p[:n]) != want {
				t.Errorf("read %q, %v", p[:n], err)
			}
		})
		spawn(t, e, func(*Task) {
			defer out.Close()
			if _, err := out.WriteAt(context.Background(), []byte(want), AtPosition); err != nil {
				t.Error(err)
			}
		})
	}
	run(t, e)
}

func TestTasksReadAndWriteWhatIsInTheFile(t *testing.T) {
	for _, class := range []Class{ClassInline, ClassBlocking} {
		t.Run(class.String(), func(t *testing.T) {
			e := newTestExecutor(t, ExecutorConfig{})
			r := newTestReactor(t, Config{})
			path := t.TempDir() + "/file"
			fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			f, err := r.OpenClass(fd, class)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			const size, tasks = 10_000, 64
			for i := range tasks {
				spawn(t, e, func(*Task) {
					ctx, content := context.Background(), pattern(size, uint64(i))
					if n, err := f.WriteAt(ctx, content, int64(i*size)); n != size || err != nil {
						t.Errorf("write: %d, %v", n, err)
					}
					p := make([]byte, size)
					if n, err := f.ReadAt(ctx, p, int64(i*size)); n != size || err != nil || !bytes.Equal(p, content) {
						t.Errorf("read: %d, %v; equal: %v", n, err, bytes.Equal(p, content))
					}
					if err := f.Fsync(ctx, true); err != nil {
						t.Errorf("fsync: %v", err)
					}
				})
			}
			run(t, e)
			if n := r.Stats().InFlight; n != 0 {
				t.Errorf("%d operations in flight after all tasks", n)
			}
			if ops, bytes := r.limits.InUse(); ops != 0 || bytes != 0 {
				t.Errorf("%d operations and %d bytes are still counted as in flight", ops, bytes)
			}
		})
	}
}

// TestWhatIsReadyGoesOutWithOneEnter counts the system calls of tasks that all
// start an operation in the same round.
func TestWhatIsReadyGoesOutWithOneEnter(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{})
	f := openTemp(t, r, pattern(1<<16, 1), unix.O_RDONLY)
	const tasks = 100
	var before, after uint64
	spawn(t, e, func(task *Task) {
		for range tasks {
			task.Spawn(func(*Task) {
				if before == 0 {
					before = e.t.q.(*ring).enters
				}
				f.ReadAt(context.Background(), make([]byte, 10), 0)
				after = e.t.q.(*ring).enters
			})
		}
	})
	run(t, e)
	if n := after - before; n > 2 { // a read may be punted and come later
		t.Errorf("%d reads took %d enters", tasks, n)
	}
}

func TestStatsCountTasksOperations(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{})
	f := openTemp(t, r, pattern(1<<16, 1), unix.O_RDONLY)
	spawn(t, e, func(*Task) {
		for range 10 {
			f.ReadAt(context.Background(), make([]byte, 100), 0)
		}
	})
	run(t, e)
	for _, when := range []string{"while it lives", "when it is closed"} {
		if s := r.Stats(); s.Completed != 10 || s.BytesRead != 1000 {
			t.Errorf("%s: %d operations completed, %d bytes read; want 10 and 1000", when, s.Completed, s.BytesRead)
		}
		e.Close()
	}
}

func TestThousandsOfTasks(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{})
	f := openTemp(t, r, pattern(1<<16, 1), unix.O_RDONLY)
	var read atomic.Int64
	for range 10_000 {
		spawn(t, e, func(task *Task) {
			task.Sleep(context.Background(), time.Millisecond)
			n, err := f.ReadAt(context.Background(), make([]byte, 16), 0)
			if err != nil {
				t.Error(err)
			}
			read.Add(int64(n))
		})
	}
	run(t, e)
	if got := read.Load(); got != 160_000 {
		t.Errorf("read %d bytes", got)
	}
	if n := len(e.resting); n > maxResting {
		t.Errorf("%d coroutines are kept", n)
	}
}

func TestSleepersWakeInTurn(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	var order []int
	start := time.Now()
	for _, n := range []int{3, 1, 2} {
		spawn(t, e, func(task *Task) {
			if err := task.Sleep(context.Background(), time.Duration(n)*100*time.Millisecond); err != nil {
				t.Error(err)
			}
			if time.Since(start) < time.Duration(n)*100*time.Millisecond {
				t.Errorf("sleeper %d woke early", n)
			}
			order = append(order, n)
		})
	}
	run(t, e)
	if fmt.Sprint(order) != "[1 2 3]" {
		t.Errorf("woke in order %v", order)
	}
}

func TestContextEndsSleep(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	spawn(t, e, func(task *Task) {
		task.Spawn(func(*Task) { cancel() })
		if err := task.Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
			t.Errorf("Sleep: %v", err)
		}
	})
	run(t, e)
	if len(e.sleepers) != 0 {
		t.Error("the sleeper is still there")
	}
}

func TestUnparkFromOtherGoroutines(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	const tasks = 200
	for range tasks {
		spawn(t, e, func(task *Task) {
			for range 20 {
				var flag atomic.Bool
				go func() {
					flag.Store(true)
					task.Unpark()
				}()
				for !flag.Load() {
					if err := task.Park(); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	run(t, e)
}

func TestFutureWaitsCooperatively(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{})
	content := pattern(4096, 3)
	f := openTemp(t, r, content, unix.O_RDONLY)
	for range 100 {
		spawn(t, e, func(*Task) {
			p := make([]byte, 4096)
			fut, err := f.SubmitRead(context.Background(), p, 0)
			if err != nil {
				t.Error(err)
				return
			}
			if n, err := fut.Wait(context.Background()); n != 4096 || err != nil || !bytes.Equal(p, content) {
				t.Errorf("%d, %v", n, err)
			}
		})
	}
	run(t, e)
}

// A future that is waited for again and again keeps no record of those who gave up.
func TestFutureForgetsTasksThatGaveUp(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{})
	f := hangingPipe(t, r)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	spawn(t, e, func(*Task) {
		fut, err := f.SubmitRead(context.Background(), make([]byte, 1), AtPosition)
		if err != nil {
			t.Error(err)
			return
		}
		for range 10 {
			if _, err := fut.Wait(ctx); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		if len(fut.tasks) != 0 {
			t.Errorf("%d tasks are recorded", len(fut.tasks))
		}
		fut.Cancel()
		if _, err := fut.Wait(context.Background()); !errors.Is(err, syscall.EINTR) {
			t.Error(err)
		}
	})
	run(t, e)
}

// TestBlockLetsOthersRun has each function wait for what the next task does.
func TestBlockLetsOthersRun(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{Blockers: 4})
	const tasks = 4
	var hand [tasks + 1]chan struct{}
	for i := range hand {
		hand[i] = make(chan struct{})
	}
	for i := range tasks {
		spawn(t, e, func(*Task) {
			tid := unix.Gettid()
			r.Block(func() {
				if unix.Gettid() == tid {
					t.Error("Block ran on the executor's thread")
				}
				<-hand[i+1]
				close(hand[i])
			})
		})
	}
	spawn(t, e, func(*Task) { close(hand[tasks]) })
	run(t, e)
	select {
	case <-hand[0]:
	default:
		t.Error("Block returned before its function")
	}
}

func TestBlockersAreBounded(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{Blockers: 3})
	var running, most atomic.Int32
	for range 50 {
		spawn(t, e, func(*Task) {
			r.Block(func() {
				now := running.Add(1)
				for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
				}
				runtime.Gosched()
				running.Add(-1)
			})
		})
	}
	run(t, e)
	if got := most.Load(); got > 3 {
		t.Errorf("%d functions ran at once", got)
	}
}

func TestPanicEndsOneTask(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{})
	survived := 0
	for i := range 10 {
		spawn(t, e, func(task *Task) {
			task.Yield()
			switch {
			case i == 3:
				panic("number three")
			case i == 7:
				r.Block(func() { panic("number seven") })
			}
			survived++
		})
	}
	err := e.Run()
	var p *PanicError
	if !errors.As(err, &p) || !strings.Contains(string(p.Stack), "executor_test.go") {
		t.Errorf("Run: %v", err)
	}
	if s := fmt.Sprint(err); !strings.Contains(s, "number three") || !strings.Contains(s, "number seven") {
		t.Errorf("Run: %v", err)
	}
	if survived != 8 {
		t.Errorf("%d tasks survived", survived)
	}
	run(t, e) // reported once
}

// runtime.Goexit, which FailNow of a test is, ends the task that calls it and
// nothing else: not those of the same round, not what is in flight, not a place
// among the blockers.
func TestGoexitEndsOneTask(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{Blockers: 1})
	f := openTemp(t, r, pattern(4096, 1), unix.O_RDONLY)
	survived := 0
	for round := range 3 {
		for i := range 30 {
			spawn(t, e, func(task *Task) {
				if i%5 == 1 {
					runtime.Goexit()
				}
				task.Yield()
				switch i % 5 {
				case 2:
					runtime.Goexit()
				case 3:
					r.Block(runtime.Goexit)
				}
				if n, err := f.ReadAt(context.Background(), make([]byte, 4096), 0); n != 4096 || err != nil {
					t.Errorf("read: %d, %v", n, err)
				}
				survived++
			})
		}
		run(t, e)
		if want := 12 * (round + 1); survived != want {
			t.Errorf("%d tasks survived, want %d", survived, want)
		}
	}
}

// hangingPipe is the reading end of a pipe that nobody writes to.
func hangingPipe(t *testing.T, r *Reactor) *File {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	f, err := r.Open(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestDeadlineEndsATasksRead(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{Timeout: 20 * time.Millisecond})
	f := hangingPipe(t, r)
	spawn(t, e, func(*Task) {
		if _, err := f.ReadAt(context.Background(), make([]byte, 1), AtPosition); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("read: %v", err)
		}
	})
	run(t, e)
}

func TestContextEndsATasksRead(t *testing.T) {
	for _, interrupts := range []bool{false, true} {
		t.Run(fmt.Sprintf("interrupts=%v", interrupts), func(t *testing.T) {
			e := newTestExecutor(t, ExecutorConfig{Interrupts: interrupts})
			r := newTestReactor(t, Config{})
			f := hangingPipe(t, r)
			ctx, cancel := context.WithCancel(context.Background())
			spawn(t, e, func(task *Task) {
				task.Spawn(func(*Task) {
					cancel()
					if interrupts {
						task.Interrupt()
					}
				})
				if _, err := f.ReadAt(ctx, make([]byte, 1), AtPosition); !errors.Is(err, syscall.EINTR) {
					t.Errorf("read: %v", err)
				}
			})
			run(t, e)
		})
	}
}

// TestFullLimitsLetOthersRun has tasks wait for room that only other tasks of
// the same thread make.
func TestFullLimitsLetOthersRun(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{Limits: NewLimits(2, 1<<20)})
	f := openTemp(t, r, pattern(1<<16, 1), unix.O_RDONLY)
	for range 100 {
		spawn(t, e, func(*Task) {
			for range 5 {
				if n, err := f.ReadAt(context.Background(), make([]byte, 4096), 0); n != 4096 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			}
		})
	}
	run(t, e)
}

func TestCloseEndsWhatWaits(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{})
	f := hangingPipe(t, r)
	var waiting sync.WaitGroup
	waiting.Add(4)
	spawn(t, e, func(task *Task) {
		waiting.Done()
		if err := task.Sleep(context.Background(), time.Hour); !errors.Is(err, ErrClosed) {
			t.Errorf("Sleep: %v", err)
		}
	})
	spawn(t, e, func(task *Task) {
		waiting.Done()
		var err error
		for err == nil {
			err = task.Park()
		}
		if !errors.Is(err, ErrClosed) {
			t.Errorf("Park: %v", err)
		}
	})
	spawn(t, e, func(task *Task) {
		waiting.Done()
		if _, err := f.ReadAt(context.Background(), make([]byte, 1), AtPosition); !errors.Is(err, syscall.EINTR) {
			t.Errorf("ReadAt: %v", err)
		}
		if _, err := f.ReadAt(context.Background(), make([]byte, 1), AtPosition); !errors.Is(err, ErrClosed) {
			t.Errorf("ReadAt after Close: %v", err)
		}
	})
	spawn(t, e, func(*Task) { waiting.Done() })
	waiting.Wait()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Spawn(func(*Task) {}); !errors.Is(err, ErrClosed) {
		t.Errorf("Spawn: %v", err)
	}
	if executors.Load() != 0 {
		t.Error("the executor is still counted")
	}
}

func TestDoUsesTheExecutorsRing(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	path := t.TempDir() + "/new"
	spawn(t, e, func(task *Task) {
		ctx := context.Background()
		ev, err := task.Do(ctx, Op{Code: OpOpenat, FD: unix.AT_FDCWD, Path: path, Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0o600})
		if err != nil {
			t.Error(err)
			return
		}
		var st unix.Statx_t
		if _, err := task.Do(ctx, Op{Code: OpStatx, FD: unix.AT_FDCWD, Path: path, Mode: unix.STATX_BASIC_STATS, Stat: &st}); err != nil || st.Mode&0o777 != 0o600 {
			t.Errorf("statx: mode %o, %v", st.Mode, err)
		}
		if _, err := task.Do(ctx, Op{Code: OpClose, FD: ev.N}); err != nil {
			t.Error(err)
		}
		if _, err := task.Do(ctx, Op{Code: OpClose, FD: ev.N}); !errors.Is(err, syscall.EBADF) {
			t.Errorf("second close: %v", err)
		}
	})
	run(t, e)
}

// TestSetupRunsOnTheThread also shows that its failure is NewExecutor's.
func TestSetupRunsOnTheThread(t *testing.T) {
	setup := 0
	e := newTestExecutor(t, ExecutorConfig{Setup: func(*Executor) error { setup = unix.Gettid(); return nil }})
	spawn(t, e, func(*Task) {
		if unix.Gettid() != setup {
			t.Error("Setup ran on another thread")
		}
	})
	run(t, e)
	oops := errors.New("oops")
	if _, err := NewExecutor(ExecutorConfig{Setup: func(*Executor) error { return oops }}); !errors.Is(err, oops) {
		t.Errorf("NewExecutor: %v", err)
	}
}

func TestSleepingExecutorWakesOnSpawn(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	for range 1000 {
		spawn(t, e, func(*Task) {})
		run(t, e)
	}
}

// A transfer of a task that has the thread to itself takes no slot if it ends
// within its system call, and is counted all the same; another gets one and can
// be cancelled.
func TestTaskTransfersGoTheShortWay(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{})
	r := newTestReactor(t, Config{})
	content := pattern(1<<16, 1)
	f := openTemp(t, r, content, unix.O_RDWR)
	g, w := pipe(t, r, ClassInline)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	spawn(t, e, func(*Task) {
		before := e.t.seq
		p := make([]byte, 100)
		if n, err := f.ReadAt(context.Background(), p, 1000); n != 100 || err != nil || !bytes.Equal(p, content[1000:1100]) {
			t.Error(n, err)
		}
		if n := e.t.seq - before; n != 0 {
			t.Errorf("%d operations took a slot", n)
		}
		if n, err := f.WriteAt(context.Background(), []byte("written"), 0); n != 7 || err != nil {
			t.Error(n, err)
		}
		if n, err := f.ReadAt(context.Background(), p, 1<<16-10); n != 10 || err != nil { // comes short
			t.Error(n, err)
		}
		if _, err := g.ReadAt(ctx, p, AtPosition); !errors.Is(err, syscall.EINTR) {
			t.Error("cancelled:", err)
		}
		unix.Write(w, []byte("late"))
		if n, err := g.ReadAt(context.Background(), p, AtPosition); n != 4 || err != nil || string(p[:4]) != "late" {
			t.Errorf("%d %v %q", n, err, p)
		}
	})
	run(t, e)
	// The short read has a continuation, which finds the end of the file.
	s := r.Stats()
	if s.BytesRead != 114 || s.BytesWritten != 7 || s.Completed != 5 || s.Submitted != 6 || s.InFlight != 0 {
		t.Errorf("%+v", s)
	}
}

func BenchmarkTaskReadCached4k(b *testing.B) {
	const size = 64 << 20
	fd := benchFile(b, b.TempDir(), size)
	r := newTestReactor(b, Config{})
	dup, err := unix.Dup(fd)
	if err != nil {
		b.Fatal(err)
	}
	f, err := r.Open(dup)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for _, tasks := range []int{1, 16} {
		b.Run(fmt.Sprintf("tasks=%d", tasks), func(b *testing.B) {
			e := newTestExecutor(b, ExecutorConfig{})
			left := b.N
			b.ReportAllocs()
			for range tasks {
				spawn(b, e, func(*Task) {
					p := make([]byte, 4096)
					for off := int64(0); left > 0; left-- {
						off = (off + 4096*7919) % size
						if n, err := f.ReadAt(context.Background(), p, off); n != len(p) || err != nil {
							b.Error(n, err)
							return
						}
					}
				})
			}
			run(b, e)
		})
	}
}

func BenchmarkSpawn(b *testing.B) {
	e := newTestExecutor(b, ExecutorConfig{})
	b.ReportAllocs()
	spawn(b, e, func(task *Task) {
		fn := func(*Task) {}
		for range b.N / 100 {
			for range 100 {
				task.Spawn(fn)
			}
			task.Yield()
		}
	})
	run(b, e)
}
