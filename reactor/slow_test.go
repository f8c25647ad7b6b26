package reactor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// slowfsDir is where buildSlowfs has put it, for TestMain to remove.
var slowfsDir string

// buildSlowfs builds test/slowfs, once for all tests, and returns the program's path.
var buildSlowfs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "slowfs")
	if err != nil {
		return "", err
	}
	slowfsDir = dir
	bin := filepath.Join(dir, "slowfs")
	if out, err := exec.Command("go", "build", "-o", bin, "../test/slowfs").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build slowfs: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if slowfsDir != "" {
		os.RemoveAll(slowfsDir)
	}
	os.Exit(code)
}

// slowBacking mounts test/slowfs on a new directory that holds one file of size
// bytes, and returns the file's path and a function that commands the mount.
// The mount is a process of its own: one of ours would wait for itself.
func slowBacking(t *testing.T, size int) (path string, command func(string)) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("CI") == "" {
			t.Skip("needs /dev/fuse and root")
		}
		t.Fatal("needs /dev/fuse and root")
	}
	bin, err := buildSlowfs()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source, mnt := filepath.Join(dir, "source"), filepath.Join(dir, "mnt")
	for _, d := range []string{source, mnt} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(source, "file"), make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, source, mnt)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Killed while go-fuse has a file of its own mount open (pollHack), it
		// would wait for itself for ever: MNT_FORCE cuts the connection.
		cmd.Process.Kill()
		unix.Unmount(mnt, unix.MNT_FORCE|unix.MNT_DETACH)
		cmd.Wait()
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(filepath.Join(mnt, ".slowfs")); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("slowfs did not mount")
		}
	}
	return filepath.Join(mnt, "file"), func(line string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(mnt, ".slowfs"), []byte(line+"\n"), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitHanging returns when n operations wait in the mount that path is on.
func awaitHanging(t *testing.T, path string, n int) {
	t.Helper()
	control := filepath.Join(filepath.Dir(path), ".slowfs")
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		status, err := os.ReadFile(control)
		if err == nil && strings.HasPrefix(string(status), fmt.Sprintf("waiting %d\n", n)) {
			return
		}
		if time.Now().After(end) {
			t.Errorf("in vain: %d operations hanging; %q, %v", n, status, err)
			return
		}
	}
}

// openShared puts a new file of size bytes in memory under r's care, whose fsync
// waits for no disk.
func openShared(t *testing.T, r *Reactor, size int64) *File {
	t.Helper()
	file, err := os.CreateTemp("/dev/shm", "reactor-test")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := errors.Join(os.Remove(file.Name()), file.Truncate(size)); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// openPath puts path, opened so that the page cache stays out of the way, under
// r's care.
func openPath(t *testing.T, r *Reactor, path string) *File {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestAFuseFileIsOfTheBlockingClass(t *testing.T) {
	path, _ := slowBacking(t, 4096)
	r := newTestReactor(t, Config{})
	if f := openPath(t, r, path); f.Class() != ClassBlocking {
		t.Errorf("class %v", f.Class())
	}
}

// Whatever hangs on one backing, a read on it is back soon after its deadline,
// its buffer is the caller's, and local files are not concerned.
func TestHungBackingHoldsNeitherCallerNorLocalFiles(t *testing.T) {
	path, command := slowBacking(t, 1<<20)
	for _, interrupts := range []string{"honour", "ignore"} {
		t.Run(interrupts, func(t *testing.T) {
			const deadline, n = time.Second, 300 // more than there are workers
			r := newTestReactor(t, Config{Timeout: deadline})
			hung := openPath(t, r, path)
			local := openShared(t, r, 1<<16)
			command("interrupt " + interrupts)
			command("hang")
			defer command("release")

			start := time.Now()
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					p := make([]byte, 4096)
					if _, err := hung.ReadAt(context.Background(), p, int64(i%256)*4096); !errors.Is(err, syscall.ETIMEDOUT) {
						t.Errorf("read of a hung file: %v", err)
					}
				})
			}
			for range 100 {
				if n, err := local.ReadAt(context.Background(), make([]byte, 4096), 0); n != 4096 || err != nil {
					t.Fatalf("local read: %d, %v", n, err)
				}
			}
			if err := local.Fsync(context.Background(), true); err != nil {
				t.Errorf("local fsync: %v", err)
			}
			wg.Wait()
			t.Logf("%d reads back after %v, deadline %v", n, time.Since(start), deadline)

			if interrupts == "ignore" {
				// Those that a worker has begun hang on, the others had only queued.
				if held := r.Stats().Held; held < 1 || held > n {
					t.Errorf("%d operations held of %d", held, n)
				}
			}
			command("release")
			nothingHeld(t, r)
			if n, err := hung.ReadAt(context.Background(), make([]byte, 4096), 0); n != 4096 || err != nil {
				t.Errorf("after the release: %d, %v", n, err)
			}
		})
	}
}

// What takes no buffer of the caller's is back in time as well, and what it
// would have returned leaks nothing.
func TestHungBackingHoldsNoOpenStatOrFsync(t *testing.T) {
	path, command := slowBacking(t, 4096)
	r := newTestReactor(t, Config{Timeout: time.Second}) // by when all of them hang
	file, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := r.slowLane(); err != nil { // its descriptors do not count
		t.Fatal(err)
	}
	before := countFDs(t)
	command("interrupt ignore")
	command("ops open,getattr,fsync")
	command("hang")
	defer command("release")
	stat := unix.Statx_t{Ino: 7}
	var futures []*Future
	for _, op := range []Op{
		{Code: OpOpenat, FD: unix.AT_FDCWD, Path: path},
		{Code: OpStatx, FD: unix.AT_FDCWD, Path: path, Mode: unix.STATX_BASIC_STATS, Flags: unix.AT_STATX_FORCE_SYNC, Stat: &stat},
		{Code: OpFsync, FD: file},
	} {
		fut, err := r.Submit(context.Background(), op)
		if err != nil {
			t.Fatal(err)
		}
		futures = append(futures, fut)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i, fut := range futures {
		if _, err := fut.Wait(ctx); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("operation %d: %v", i, err)
		}
	}
	if held := r.Stats().Held; held != 3 {
		t.Errorf("%d operations held, want 3", held)
	}
	command("release")
	nothingHeld(t, r)
	if stat.Ino != 7 {
		t.Error("a statx that was given up was filled afterwards")
	}
	for end := time.Now().Add(time.Minute); countFDs(t) > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors, %d before: the file opened late is still open", countFDs(t), before)
		}
	}
}

// nothingHeld waits until the kernel has given everything back.
func nothingHeld(t *testing.T, r *Reactor) {
	t.Helper()
	for end := time.Now().Add(time.Minute); r.Stats().Held > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still held: %+v", r.Stats())
		}
	}
}

// However a read has come by its deadline and whatever it hangs on, its caller is
// back soon after it (docs/REACTOR.md says how soon), and the buffer is left alone
// from then on, also when the backing answers in the end.
func TestReadsAreBackAtTheirDeadline(t *testing.T) {
	path, command := slowBacking(t, 4096)
	defer command("release")
	const deadline, tries = 20 * time.Millisecond, 5
	ctx := context.Background()
	ways := map[string]func(r *Reactor, e *Executor, f *File, p []byte) error{
		"context": func(_ *Reactor, _ *Executor, f *File, p []byte) error {
			ctx, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			_, err := f.ReadAt(ctx, p, AtPosition)
			return err
		},
		"operation": func(r *Reactor, _ *Executor, f *File, p []byte) error {
			fut, err := r.Submit(ctx, Op{Code: OpRead, FD: f.Fd(), Buf: p, Off: AtPosition, Timeout: deadline})
			if err != nil {
				return err
			}
			_, err = fut.Wait(ctx)
			return err
		},
		"task": func(_ *Reactor, e *Executor, f *File, p []byte) (err error) {
			ctx, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			spawn(t, e, func(*Task) { _, err = f.ReadAt(ctx, p, AtPosition) })
			run(t, e)
			return err
		},
	}
	for _, backing := range []string{"pipe", "honour", "ignore"} {
		r, e := newTestReactor(t, Config{}), newTestExecutor(t, ExecutorConfig{})
		f := hangingPipe(t, r)
		if backing != "pipe" {
			f = openPath(t, r, path)
			command("interrupt " + backing)
			command("hang")
		}
		for way, read := range ways {
			p := bytes.Repeat([]byte{canary}, 4096)
			var late []time.Duration
			for range tries {
				begun := time.Now()
				if err := read(r, e, f, p); !errors.Is(err, syscall.ETIMEDOUT) {
					t.Errorf("%s, %s: %v", backing, way, err)
				}
				late = append(late, time.Since(begun)-deadline)
			}
			slices.Sort(late)
			t.Logf("%s, deadline of the %s: back after %v at the median, %v at most", backing, way, late[tries/2], late[tries-1])
			if late[0] < 0 || late[tries-1] > time.Minute { // a machine under any load
				t.Errorf("%s, %s: back after %v", backing, way, late)
			}
			if backing == "ignore" {
				if r.Stats().Held == 0 {
					t.Errorf("%s: nothing is held while the backing hangs", way)
				}
				command("release")
				nothingHeld(t, r)
				command("hang")
			}
			if bytes.Count(p, []byte{canary}) != len(p) {
				t.Errorf("%s, %s: the buffer was filled after its caller was back", backing, way)
			}
		}
	}
}

const canary = 0xA5

func TestCancelledReadOnAHungBackingReturns(t *testing.T) {
	path, command := slowBacking(t, 1<<20)
	r := newTestReactor(t, Config{})
	f := openPath(t, r, path)
	command("interrupt ignore")
	command("hang")
	defer command("release")
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with the read's hanging
		defer cancel()
		awaitHanging(t, path, 1)
	}()
	if _, err := f.ReadAt(ctx, make([]byte, 4096), 0); !errors.Is(err, syscall.EINTR) {
		t.Error(err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := r.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown while the backing hangs: %v", err)
	}
}

// latencies are how long single reads took.
type latencies struct {
	all         []time.Duration
	undisturbed []time.Duration // in slices in which the kernel put nobody else in our place
}

// measure reads 4 KiB of f many times.
func (l *latencies) measure(t *testing.T, f *File) {
	t.Helper()
	runtime.LockOSThread() // whose context switches are counted
	defer runtime.UnlockOSThread()
	p := make([]byte, 4096)
	for range 200 {
		before := preemptions(t)
		for range 50 {
			begun := time.Now()
			if n, err := f.ReadAt(context.Background(), p, 0); n != len(p) || err != nil {
				t.Fatalf("local read: %d, %v", n, err)
			}
			l.all = append(l.all, time.Since(begun))
		}
		if preemptions(t) == before {
			l.undisturbed = append(l.undisturbed, l.all[len(l.all)-50:]...)
		}
	}
}

func (l *latencies) String() string {
	at := func(d []time.Duration, percent int) time.Duration {
		d = slices.Sorted(slices.Values(d))
		return d[len(d)*percent/100]
	}
	if len(l.undisturbed) == 0 {
		return "always disturbed"
	}
	return fmt.Sprintf("p50 %v, p99 %v; of the %d %% in undisturbed slices p50 %v, p99 %v", at(l.all, 50), at(l.all, 99),
		100*len(l.undisturbed)/len(l.all), at(l.undisturbed, 50), at(l.undisturbed, 99))
}

// preemptions is how often the calling thread has had to leave its processor to another.
func preemptions(t *testing.T) int64 {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		t.Fatal(err)
	}
	return u.Nivcsw
}

// threads counts this process's threads, kernel workers included.
func threads(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(tasks)
}

// Whatever hangs, reads, writes or fsyncs, the kernel makes no more workers for
// it than are stated; the two kinds of work had the whole number each.
func TestWorkersOfAHungBackingAreBounded(t *testing.T) {
	path, command := slowBacking(t, 1<<20)
	r := newTestReactor(t, Config{Workers: 16})
	f := openPath(t, r, path)
	command("hang")
	defer command("release")
	before := r.Stats().Workers // those of earlier tests go away after some idle seconds
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { f.ReadAt(context.Background(), make([]byte, 4096), int64(i)*4096) })
		wg.Go(func() { f.WriteAt(context.Background(), make([]byte, 4096), int64(i)*4096) })
		wg.Go(func() { f.Fsync(context.Background(), false) })
	}
	stats := r.Stats()
	for end := time.Now().Add(time.Minute); stats.Submitted < 300 || stats.Workers < 18; stats = r.Stats() {
		if time.Now().After(end) {
			t.Fatalf("too few workers: %+v, %d before", stats, before)
		}
	}
	if stats.MaxWorkers != 18 || stats.Workers > before+18 {
		t.Errorf("%d kernel workers, %d before; bound %d", stats.Workers, before, stats.MaxWorkers)
	}
	command("release")
	wg.Wait()
}

// rss is the resident memory of this process in bytes.
func rss(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int
	if n, err := fmt.Sscan(string(b), &size, &resident); n != 2 {
		t.Fatal(err)
	}
	return resident * os.Getpagesize()
}

// The bounds that docs/REACTOR.md states for 10,000 reads of 4 KiB blocked at once.
const (
	blockedReads   = 10_000
	blockedThreads = 240 + 40  // the lane's workers, and the process's own threads
	blockedMemory  = 160 << 20 // bytes beyond the idle process: a buffer and a goroutine each
)

// Local reads are measured in turn without the blocked ones and beside them.
func TestTenThousandBlockedReadsStayWithinBounds(t *testing.T) {
	path, command := slowBacking(t, 1<<20)
	defer command("release")
	r := newTestReactor(t, Config{})
	slow := openPath(t, r, path)
	local := openTemp(t, r, make([]byte, 1<<16), unix.O_RDWR)
	var idle, beside latencies
	for range 3 {
		before := resident(t)
		idle.measure(t, local)
		command("hang")
		var wg sync.WaitGroup
		for i := range blockedReads {
			wg.Go(func() {
				p := make([]byte, 4096)
				n, err := slow.ReadAt(context.Background(), p, int64(i%256)*4096)
				if err != nil || n != len(p) {
					t.Errorf("blocked read: %d, %v", n, err)
				}
			})
		}
		for end := time.Now().Add(time.Minute); r.Stats().Blocking < blockedReads; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d of %d in flight", r.Stats().Blocking, blockedReads)
			}
		}
		beside.measure(t, local)
		all, workers := threads(t), r.Stats().Workers
		grown := rss(t) - before
		t.Logf("%d reads blocked: %d threads, %d of them kernel workers; %d MiB more memory", blockedReads, all, workers, grown>>20)
		if all > blockedThreads {
			t.Errorf("%d threads, bound %d", all, blockedThreads)
		}
		if grown > blockedMemory && !raceEnabled {
			t.Errorf("%d bytes more memory, bound %d", grown, blockedMemory)
		}
		command("release")
		wg.Wait()
	}
	t.Logf("local reads, idle: %v", &idle)
	t.Logf("local reads beside the blocked ones: %v", &beside)
}
