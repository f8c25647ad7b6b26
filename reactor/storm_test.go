package reactor

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var stormTime = flag.Duration("storm", 1500*time.Millisecond, "how long the storm lasts; scripts/soak lets it rage for minutes")

// guarded is a buffer between canaries.
type guarded struct {
	all, p []byte
}

const canarySize = 64

func newGuarded(n int) *guarded {
	g := &guarded{all: make([]byte, n+2*canarySize)}
	for i := range g.all {
		g.all[i] = 0xC5
	}
	g.p = g.all[canarySize : canarySize+n : canarySize+n]
	return g
}

func (g *guarded) check(t *testing.T) {
	t.Helper()
	for i := range canarySize {
		if g.all[i] != 0xC5 || g.all[len(g.all)-1-i] != 0xC5 {
			t.Error("memory beside a buffer was written to")
			return
		}
	}
}

// storm does everything at once until stop is closed: reads and writes on
// backings of both classes, futures, wakers, tasks, deadlines and cancels on
// pipes, files closed in the middle, on real rings.
type storm struct {
	t          *testing.T
	r          *Reactor
	e          *Executor
	fast, slow *File
	dir        string
	ops        atomic.Int64
}

const stormRegion = 16 << 10

func newStorm(t *testing.T, workers int) *storm {
	s := &storm{t: t, dir: t.TempDir()}
	var err error
	if s.r, err = New(Config{Rings: 3, Workers: 16}); err != nil {
		if os.Getenv("CI") == "" {
			t.Skipf("no io_uring here: %v", err)
		}
		t.Fatal(err)
	}
	if s.e, err = NewExecutor(ExecutorConfig{}); err != nil {
		t.Fatal(err)
	}
	content := make([]byte, workers*stormRegion)
	s.fast, s.slow = s.open("fast", content, ClassAuto), s.open("slow", content, ClassBlocking)
	return s
}

func (s *storm) open(name string, content []byte, class Class) *File {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	f, err := s.r.OpenClass(fd, class)
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// worker does one thing after the other until stop is closed, as the only one
// in its region of each file.
func (s *storm) worker(w int, stop <-chan struct{}) {
	rng := rand.New(rand.NewPCG(uint64(w), 3))
	want := map[*File][]byte{s.fast: make([]byte, stormRegion), s.slow: make([]byte, stormRegion)}
	for {
		select {
		case <-stop:
			return
		default:
		}
		s.ops.Add(1)
		f := s.fast
		if rng.IntN(4) == 0 {
			f = s.slow
		}
		switch rng.IntN(12) {
		case 0:
			s.pipeDeadline(rng)
		case 1:
			s.shortLife(rng)
		case 2:
			s.task(rng, f, want[f], int64(w*stormRegion))
		case 3, 4:
			s.future(rng, f, want[f], int64(w*stormRegion))
		default:
			s.transfer(rng, f.ReadAt, f.WriteAt, want[f], int64(w*stormRegion))
		}
	}
}

type transferAt func(context.Context, []byte, int64) (int, error)

// transfer writes or reads some of a region whose content is want.
func (s *storm) transfer(rng *rand.Rand, read, write transferAt, want []byte, base int64) {
	off := rng.IntN(len(want))
	g := newGuarded(1 + rng.IntN(len(want)-off))
	defer g.check(s.t)
	ctx := context.Background()
	if rng.IntN(3) == 0 {
		fill(rng, g.p)
		n, err := write(ctx, g.p, base+int64(off))
		if n != len(g.p) || err != nil {
			s.t.Errorf("write: %d of %d, %v", n, len(g.p), err)
		}
		copy(want[off:], g.p)
		return
	}
	n, err := read(ctx, g.p, base+int64(off))
	if n != len(g.p) || err != nil || !bytes.Equal(g.p, want[off:off+n]) {
		s.t.Errorf("read: %d of %d, %v", n, len(g.p), err)
	}
}

func fill(rng *rand.Rand, p []byte) {
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
}

// future is transfer by futures, which are cancelled now and then.
func (s *storm) future(rng *rand.Rand, f *File, want []byte, base int64) {
	wait := func(fut *Future, err error) (int, error) {
		if err != nil {
			return 0, err
		}
		return fut.Wait(context.Background())
	}
	if rng.IntN(4) > 0 {
		s.transfer(rng, func(ctx context.Context, p []byte, off int64) (int, error) { return wait(f.SubmitRead(ctx, p, off)) },
			func(ctx context.Context, p []byte, off int64) (int, error) { return wait(f.SubmitWrite(ctx, p, off)) }, want, base)
		return
	}
	g := newGuarded(len(want))
	fut, err := f.SubmitRead(context.Background(), g.p, base)
	if err != nil {
		s.t.Error(err)
		return
	}
	fut.Cancel()
	if n, err := wait(fut, nil); err == nil && (n != len(want) || !bytes.Equal(g.p, want)) || err != nil && !errors.Is(err, syscall.EINTR) {
		s.t.Errorf("cancelled read: %d, %v", n, err)
	}
	g.check(s.t)
}

// task is transfer by a task of the executor, and a short sleep.
func (s *storm) task(rng *rand.Rand, f *File, want []byte, base int64) {
	done := make(chan struct{})
	err := s.e.Spawn(func(t *Task) {
		defer close(done)
		s.transfer(rng, f.ReadAt, f.WriteAt, want, base)
		if err := t.Sleep(context.Background(), time.Duration(rng.IntN(100))*time.Microsecond); err != nil {
			s.t.Error(err)
		}
	})
	if err != nil {
		s.t.Error(err)
		return
	}
	<-done
}

// pipeDeadline reads a pipe that gives nothing, or something in the last moment.
func (s *storm) pipeDeadline(rng *rand.Rand) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		s.t.Error(err)
		return
	}
	defer unix.Close(p[1])
	f, err := s.r.OpenClass(p[0], []Class{ClassInline, ClassBlocking}[rng.IntN(2)])
	if err != nil {
		s.t.Error(err)
		return
	}
	defer f.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(2000))*time.Microsecond)
	defer cancel()
	if rng.IntN(2) == 0 {
		unix.Write(p[1], []byte("xyz"))
	}
	g := newGuarded(3)
	n, err := f.ReadAt(ctx, g.p, AtPosition)
	if err == nil && string(g.p[:n]) != "xyz" || err != nil && !errors.Is(err, syscall.ETIMEDOUT) {
		s.t.Errorf("pipe: %d, %v", n, err)
	}
	g.check(s.t)
}

// shortLife opens a file, starts a read and closes the file at once, so that
// descriptors are reused all the time: the read must not see another file.
func (s *storm) shortLife(rng *rand.Rand) {
	path := filepath.Join(s.dir, "short"+string(rune('a'+rng.IntN(26)))+string(rune('a'+rng.IntN(26))))
	mark := byte(path[len(path)-2])*7 + path[len(path)-1]
	if err := os.WriteFile(path, bytes.Repeat([]byte{mark}, 5000), 0o600); err != nil {
		s.t.Error(err)
		return
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		s.t.Error(err)
		return
	}
	f, err := s.r.OpenClass(fd, []Class{ClassInline, ClassBlocking}[rng.IntN(2)])
	if err != nil {
		s.t.Error(err)
		return
	}
	g := newGuarded(5000)
	fut, err := f.SubmitRead(context.Background(), g.p, 0)
	f.Close()
	if err != nil {
		s.t.Error(err)
		return
	}
	n, err := fut.Wait(context.Background())
	if err != nil || n > 0 && (g.p[0] != mark || g.p[n-1] != mark) { // n == 0: truncated by its twin
		s.t.Errorf("read of a closed file: %d, %v, byte %d instead of %d", n, err, g.p[0], mark)
	}
	g.check(s.t)
}

// rage lets workers loose for a while and returns how much they did.
func (s *storm) rage(workers int, d time.Duration) int64 {
	stop := make(chan struct{})
	time.AfterFunc(d, func() { close(stop) })
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { s.worker(w, stop) })
	}
	wg.Wait()
	return s.ops.Load()
}

func (s *storm) close() {
	// What was given up in a kernel worker ends a little later.
	stats := s.r.Stats()
	for end := time.Now().Add(time.Minute); stats.Held > 0 && time.Now().Before(end); stats = s.r.Stats() {
		time.Sleep(time.Millisecond)
	}
	if stats.InFlight != 0 || stats.InFlightBytes != 0 || stats.Held != 0 || stats.Waiting != 0 || stats.Spurious != 0 {
		s.t.Errorf("left over: %+v", stats)
	}
	s.fast.Close()
	s.slow.Close()
	if err := errors.Join(s.e.Close(), s.r.Close()); err != nil {
		s.t.Error(err)
	}
}

// goThreads counts this process's threads that are not kernel workers (io-wq),
// which go away by themselves after some idle seconds.
func goThreads(t *testing.T) int {
	names, err := filepath.Glob("/proc/self/task/*/comm")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		if comm, err := os.ReadFile(name); err == nil && !strings.HasPrefix(string(comm), "iou-") {
			n++
		}
	}
	return n
}

// resident is the process's memory, in bytes, without what Go has freed.
func resident(t *testing.T) int {
	debug.FreeOSMemory()
	return rss(t)
}

// A storm on real rings loses no operation, corrupts no byte, writes beside no
// buffer though the collector runs all the time, and leaves nothing behind.
func TestStormLeavesNothingBehind(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	// More storms than workers, so that a thread left by each would show.
	const workers, storms = 24, 40
	rest := *stormTime
	warm := newStorm(t, workers) // starts threads and fills pools, which stay
	warm.rage(workers, min(rest/3, 10*time.Second))
	warm.close()
	goroutines, fds, threads, memory := runtime.NumGoroutine(), countFDs(t), goThreads(t), resident(t)
	ops := int64(0)
	for range storms {
		s := newStorm(t, workers)
		ops += s.rage(workers, rest/storms)
		s.close()
	}
	goroutinesSettle(t, goroutines)
	if n := countFDs(t); n > fds {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
	// Go keeps threads: in the end one for each worker, if a busy machine has had
	// all of them in system calls at once.
	if n := goThreads(t); n > threads+workers {
		t.Errorf("%d threads, %d before", n, threads)
	}
	after := resident(t)
	t.Logf("%d operations in %v; memory %d MiB, %d before", ops, rest, after>>20, memory>>20)
	if after > memory+48<<20 && !raceEnabled {
		t.Errorf("%d MiB of memory, %d before", after>>20, memory>>20)
	}
}

// The same with one processor and with two: nothing spins where another has to
// run, and nothing needs a second one.
func TestStormOnFewProcessors(t *testing.T) {
	for _, n := range []int{1, 2} {
		old := runtime.GOMAXPROCS(n)
		s := newStorm(t, 8)
		s.rage(8, min(*stormTime, 300*time.Millisecond))
		s.close()
		runtime.GOMAXPROCS(old)
	}
}

// A reactor closed in the middle of a storm answers everybody, with a result,
// EINTR or ErrClosed, and Close returns.
func TestCloseDuringStorms(t *testing.T) {
	rounds := max(5, int(*stormTime/(100*time.Millisecond))/3)
	for round := range rounds {
		r := newTestReactor(t, Config{Rings: 2})
		content := pattern(64<<10, uint64(round))
		fast := openTemp(t, r, content, unix.O_RDONLY)
		slow, err := r.OpenClass(dup(t, fast.Fd()), ClassBlocking)
		if err != nil {
			t.Fatal(err)
		}
		pipe, _ := pipe(t, r, ClassInline)
		var wg sync.WaitGroup
		for w := range 30 {
			wg.Go(func() {
				f, off := []*File{fast, slow, pipe}[w%3], int64(w*100)
				if f == pipe {
					off = AtPosition
				}
				for {
					g := newGuarded(4096)
					n, err := f.ReadAt(context.Background(), g.p, off)
					g.check(t)
					switch {
					case errors.Is(err, ErrClosed):
						return
					case err == nil && !bytes.Equal(g.p[:n], content[off:off+int64(n)]):
						t.Error("wrong data")
					case err != nil && !errors.Is(err, syscall.EINTR):
						t.Error(err)
					}
				}
			})
		}
		time.Sleep(time.Duration(round%5) * time.Millisecond) // a different moment each time
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		slow.Close()
	}
}

func dup(t *testing.T, fd int) int {
	t.Helper()
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A descriptor that is replaced under way (dup2) gives the old file's bytes or
// the new one's, whole, and disturbs nobody else's.
func TestDescriptorReplacedDuringOperations(t *testing.T) {
	r := newTestReactor(t, Config{})
	const size = 64 << 10
	paths := [2]string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	var fds [2]int
	for i, path := range paths {
		if err := os.WriteFile(path, bytes.Repeat([]byte{byte('a' + i)}, size), 0o600); err != nil {
			t.Fatal(err)
		}
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		fds[i] = fd
	}
	for _, class := range []Class{ClassInline, ClassBlocking} {
		f, err := r.OpenClass(dup(t, fds[0]), class)
		if err != nil {
			t.Fatal(err)
		}
		other, err := r.OpenClass(dup(t, fds[0]), class)
		if err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					for file, allowed := range map[*File]string{f: "ab", other: "a"} {
						g := newGuarded(size)
						n, err := file.ReadAt(context.Background(), g.p, 0)
						if n != size || err != nil || !strings.Contains(allowed, string(g.p[:1])) || bytes.Count(g.p, g.p[:1]) != size {
							t.Errorf("%v: read of %d, %v", class, n, err)
						}
						g.check(t)
					}
				}
			})
		}
		for i := range 200 {
			if err := unix.Dup3(fds[i%2], f.Fd(), unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			runtime.Gosched()
		}
		close(stop)
		wg.Wait()
		f.Close()
		other.Close()
	}
}

// A child inherits neither rings nor eventfds, and starting one disturbs no
// operation.
func TestForkAndExecBesideOperations(t *testing.T) {
	r := newTestReactor(t, Config{})
	newTestExecutor(t, ExecutorConfig{})
	content := pattern(1<<20, 5)
	f := openTemp(t, r, content, unix.O_RDWR)
	slow, err := r.OpenClass(dup(t, f.Fd()), ClassBlocking)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			file := []*File{f, slow}[w%2]
			for {
				select {
				case <-stop:
					return
				default:
				}
				g := newGuarded(256 << 10)
				n, err := file.ReadAt(context.Background(), g.p, int64(w)*1000)
				if n != len(g.p) || err != nil || !bytes.Equal(g.p, content[w*1000:w*1000+n]) {
					t.Errorf("read: %d, %v", n, err)
				}
				g.check(t)
			}
		})
	}
	for range 10 {
		out, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(out), "io_uring") || strings.Contains(string(out), "eventfd") {
			t.Errorf("inherited:\n%s", out)
		}
	}
	close(stop)
	wg.Wait()
}
