package reactor

import (
	"context"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An executor that keeps its processor neither takes one from others nor keeps
// the collector waiting, busy or idle, and gives it back at the end.
func TestKeptProcessorIsAnExtraOne(t *testing.T) {
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	e := newTestExecutor(t, ExecutorConfig{KeepProcessor: true})
	r := newTestReactor(t, Config{})
	f := openTemp(t, r, pattern(1<<16, 1), unix.O_RDONLY)
	g, w := pipe(t, r, ClassInline)
	read := func(f *File, off int64) {
		spawn(t, e, func(*Task) {
			if n, err := f.ReadAt(context.Background(), make([]byte, 1), off); n != 1 || err != nil {
				t.Error(n, err)
			}
		})
	}
	read(f, 0)
	run(t, e)
	if n := runtime.GOMAXPROCS(0); n != 2 {
		t.Errorf("GOMAXPROCS is %d", n)
	}
	// The thread waits for the pipe while everything else goes on, longer than
	// the monitor lets it keep the processor.
	read(g, AtPosition)
	for range 20 {
		runtime.GC()
		done := make(chan struct{})
		go close(done)
		<-done
		time.Sleep(time.Millisecond)
	}
	if _, err := unix.Write(w, []byte("x")); err != nil {
		t.Fatal(err)
	}
	run(t, e)
	e.Close()
	if n := runtime.GOMAXPROCS(0); n != 1 {
		t.Errorf("GOMAXPROCS is %d at the end", n)
	}
}

// An idle executor tells Go's scheduler that it waits, so that nobody has to wake
// it for its processor every 10 ms.
func TestIdleExecutorGivesItsProcessorUp(t *testing.T) {
	e := newTestExecutor(t, ExecutorConfig{KeepProcessor: true})
	enters := func() (n uint64) {
		spawn(t, e, func(*Task) { n = e.t.q.(*ring).enters })
		run(t, e)
		return n
	}
	enters()
	before := enters()
	time.Sleep(time.Second)
	if n := enters() - before; n > 20 {
		t.Errorf("it was woken %d times", n)
	}
}
