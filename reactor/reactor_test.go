package reactor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newTestReactor makes a reactor that the test closes; without io_uring the
// test is skipped, in CI it fails.
func newTestReactor(tb testing.TB, cfg Config) *Reactor {
	tb.Helper()
	r, err := New(cfg)
	if err != nil {
		if os.Getenv("CI") == "" {
			tb.Skipf("no io_uring here: %v", err)
		}
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, ErrClosed) {
			tb.Errorf("close: %v", err)
		}
	})
	return r
}

// openTemp puts a new file with that content under r's care.
func openTemp(tb testing.TB, r *Reactor, content []byte, flags int) *File {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		tb.Fatal(err)
	}
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	f, err := r.Open(fd)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	return f
}

// pattern is n bytes that differ from offset to offset.
func pattern(n int, seed uint64) []byte {
	p := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	rng.Read(p)
	return p
}

func TestReadAtReturnsWhatIsInTheFile(t *testing.T) {
	r := newTestReactor(t, Config{})
	content := pattern(100_000, 1)
	f := openTemp(t, r, content, unix.O_RDONLY)
	ctx := context.Background()
	for _, c := range []struct{ off, n, want int }{
		{0, 4096, 4096}, {0, 100_000, 100_000}, {50_000, 1 << 20, 50_000}, {99_999, 10, 1}, {100_000, 10, 0}, {1 << 40, 10, 0}, {3, 0, 0},
	} {
		p := make([]byte, c.n)
		n, err := f.ReadAt(ctx, p, int64(c.off))
		if err != nil || n != c.want {
			t.Errorf("ReadAt %d bytes at %d: %d, %v; want %d", c.n, c.off, n, err, c.want)
			continue
		}
		if n > 0 && !bytes.Equal(p[:n], content[c.off:c.off+n]) {
			t.Errorf("ReadAt %d bytes at %d: wrong data", c.n, c.off)
		}
	}
}

// The descriptor is the reactor's alone: no os.File closes it later, when its
// number may be another file's.
func TestOpenFileOwnsItsDescriptor(t *testing.T) {
	r := newTestReactor(t, Config{})
	path := filepath.Join(t.TempDir(), "file")
	f, err := r.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC() // runs the clean-ups of what was dropped
	runtime.GC()
	var st unix.Stat_t
	if err := unix.Fstat(f.Fd(), &st); err != nil || st.Mode&0o777 != 0o640 {
		t.Errorf("mode %o, %v", st.Mode, err)
	}
	if n, err := f.WriteAt(context.Background(), []byte("x"), 0); n != 1 || err != nil {
		t.Error(n, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	var pathErr *os.PathError
	if _, err := r.OpenFile(path, os.O_CREATE|os.O_EXCL, 0); !errors.As(err, &pathErr) || !errors.Is(err, os.ErrExist) {
		t.Errorf("open of what exists: %v", err)
	}
}

func TestWriteAtAppendsWithOAppend(t *testing.T) {
	r := newTestReactor(t, Config{})
	f := openTemp(t, r, []byte("head"), unix.O_RDWR|unix.O_APPEND)
	if n, err := f.WriteAt(context.Background(), []byte("tail"), 0); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	p := make([]byte, 16)
	if n, _ := f.ReadAt(context.Background(), p, 0); string(p[:n]) != "headtail" {
		t.Errorf("got %q", p[:n])
	}
}

// Only regular files of tmpfs get O_NONBLOCK|O_DIRECT: a FIFO that had it lost
// what its reader did not take at once.
func TestFIFOOnTmpfsIsNoPacketPipe(t *testing.T) {
	r := newTestReactor(t, Config{})
	dir, err := os.MkdirTemp("/dev/shm", "reactor-test")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx := context.Background()
	if n, err := f.WriteAt(ctx, []byte("halves"), AtPosition); n != 6 || err != nil {
		t.Fatal(n, err)
	}
	for _, want := range []string{"hal", "ves"} {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		p := make([]byte, 3)
		if n, err := f.ReadAt(ctx, p, AtPosition); err != nil || string(p[:n]) != want {
			t.Errorf("read %q, %v; want %q", p[:n], err, want)
		}
	}
}

// A pipe takes what it has room for; the rest is not the caller's business.
func TestWriteIntoAPipeGoesOn(t *testing.T) {
	r := newTestReactor(t, Config{})
	for _, class := range []Class{ClassInline, ClassBlocking} {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		out, err := r.OpenClass(p[1], class)
		if err != nil {
			t.Fatal(err)
		}
		in := os.NewFile(uintptr(p[0]), "pipe")
		defer in.Close()
		want := pattern(1<<20, 3) // many times what a pipe holds
		var wg sync.WaitGroup
		wg.Go(func() {
			defer out.Close()
			if n, err := out.WriteAt(context.Background(), want, AtPosition); n != len(want) || err != nil {
				t.Errorf("%v: wrote %d of %d, %v", class, n, len(want), err)
			}
		})
		if got, err := io.ReadAll(in); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes of %d came, %v", class, len(got), len(want), err)
		}
		wg.Wait()
	}
}

func TestVectoredTransfersMoveAllBuffers(t *testing.T) {
	r := newTestReactor(t, Config{})
	for _, class := range []Class{ClassInline, ClassBlocking} {
		f := openTemp(t, r, nil, unix.O_RDWR)
		f.class = class
		want := pattern(30_000, 2)
		ctx := context.Background()
		if n, err := f.WritevAt(ctx, [][]byte{want[:1], want[1:10_000], nil, want[10_000:]}, 5); n != len(want) || err != nil {
			t.Fatal(n, err)
		}
		got := make([]byte, len(want))
		if n, err := f.ReadvAt(ctx, [][]byte{got[:20_000], got[20_000:]}, 5); n != len(want) || err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %d, %v", class, n, err)
		}
	}
}

func TestErrorsNameTheOperationAndWrapTheErrno(t *testing.T) {
	r := newTestReactor(t, Config{})
	f := openTemp(t, r, nil, unix.O_RDONLY)
	_, err := f.WriteAt(context.Background(), []byte("x"), 7)
	var opErr *OpError
	if !errors.As(err, &opErr) || opErr.Op != "write" || opErr.Off != 7 || !errors.Is(err, syscall.EBADF) {
		t.Errorf("write to a read-only descriptor: %v", err)
	}
	for _, c := range []struct {
		op   Op
		says string
	}{
		{Op{Code: 200}, "operation fd 0: invalid argument"},
		{Op{Code: OpRead, FD: -1, Off: 7}, "read fd -1 at 7: bad file descriptor"},
		{Op{Code: OpRead, FD: -1, Off: AtPosition}, "read fd -1: bad file descriptor"},
		{Op{Code: OpFsync, FD: -1}, "fsync fd -1: bad file descriptor"},
		{Op{Code: OpOpenat, FD: unix.AT_FDCWD, Path: "/no/such"}, `openat "/no/such": no such file or directory`},
		{Op{Code: OpOpenat, FD: unix.AT_FDCWD, Path: "/etc/passwd\x00.txt"}, `openat "/etc/passwd\x00.txt": invalid argument`},
		{Op{Code: OpStatx, FD: unix.AT_FDCWD, Path: "/"}, `statx "/": bad address`}, // without Stat
	} {
		fut, err := r.Submit(context.Background(), c.op)
		if err == nil {
			_, err = fut.Wait(context.Background())
		}
		if !errors.As(err, &opErr) || err.Error() != c.says {
			t.Errorf("%v; want %v", err, c.says)
		}
	}
}

func TestFsyncAndFallocate(t *testing.T) {
	r := newTestReactor(t, Config{})
	f := openTemp(t, r, nil, unix.O_RDWR)
	ctx := context.Background()
	if err := f.Fallocate(ctx, 0, 4096, 8192); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.Fd(), &st); err != nil || st.Size != 12288 || st.Blocks == 0 {
		t.Errorf("after fallocate: size %d, blocks %d, %v", st.Size, st.Blocks, err)
	}
	for _, datasync := range []bool{false, true} {
		if err := f.Fsync(ctx, datasync); err != nil {
			t.Error(err)
		}
	}
	if err := f.Fallocate(ctx, 0, 0, 0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("fallocate of nothing: %v", err)
	}
}

// pipe returns the two ends, the read end under r's care.
func pipe(tb testing.TB, r *Reactor, class Class) (*File, int) {
	tb.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		tb.Fatal(err)
	}
	f, err := r.OpenClass(p[0], class)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close(); unix.Close(p[1]) })
	return f, p[1]
}

func TestBlockedReadIsWokenByItsData(t *testing.T) {
	r := newTestReactor(t, Config{})
	for _, class := range []Class{ClassInline, ClassBlocking} {
		f, w := pipe(t, r, class)
		const n = 100
		var wg sync.WaitGroup
		var mu sync.Mutex
		seen := map[string]bool{}
		for range n {
			wg.Go(func() {
				p := make([]byte, 3)
				got, err := f.ReadAt(context.Background(), p, AtPosition)
				if err != nil || got != 3 {
					t.Errorf("%v: %d, %v", class, got, err)
				}
				mu.Lock()
				seen[string(p)] = true
				mu.Unlock()
			})
		}
		for i := range n {
			unix.Write(w, fmt.Appendf(nil, "%03d", i))
		}
		wg.Wait()
		if len(seen) != n {
			t.Errorf("%v: %d different reads of %d", class, len(seen), n)
		}
	}
}

func TestCancelledReadReturnsEINTR(t *testing.T) {
	r := newTestReactor(t, Config{})
	for _, class := range []Class{ClassInline, ClassBlocking} {
		f, w := pipe(t, r, class)
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(20*time.Millisecond, cancel)
		if _, err := f.ReadAt(ctx, make([]byte, 1), AtPosition); !errors.Is(err, syscall.EINTR) {
			t.Errorf("%v: %v", class, err)
		}
		// What was cancelled takes nothing from those who read later.
		unix.Write(w, []byte("x"))
		p := make([]byte, 1)
		if n, err := f.ReadAt(context.Background(), p, AtPosition); n != 1 || err != nil || p[0] != 'x' {
			t.Errorf("%v: read after a cancelled one: %d, %v", class, n, err)
		}
	}
}

func TestDeadlineReturnsETIMEDOUT(t *testing.T) {
	r := newTestReactor(t, Config{})
	bounded := newTestReactor(t, Config{Timeout: 20 * time.Millisecond})
	for _, class := range []Class{ClassInline, ClassBlocking} {
		f, _ := pipe(t, r, class)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if _, err := f.ReadAt(ctx, make([]byte, 1), AtPosition); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("%v, deadline of the context: %v", class, err)
		}
		cancel()
		g, _ := pipe(t, bounded, class)
		if _, err := g.ReadAt(context.Background(), make([]byte, 1), AtPosition); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("%v, deadline of the reactor: %v", class, err)
		}
		fut, err := r.Submit(context.Background(), Op{Code: OpRead, FD: f.Fd(), Buf: make([]byte, 1), Off: AtPosition, Timeout: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fut.Wait(context.Background()); !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("%v, deadline of the operation: %v", class, err)
		}
	}
}

// 50,000 mixed operations of 400 goroutines, far more at once than a ring has
// entries, on files whose expected content each goroutine knows.
func TestMixedOperationsBeyondTheRings(t *testing.T) {
	r := newTestReactor(t, Config{Rings: 2})
	const workers, ops, region = 400, 125, 64 << 10
	fast := openTemp(t, r, make([]byte, workers*region), unix.O_RDWR)
	slow := openTemp(t, r, make([]byte, workers*region), unix.O_RDWR)
	slow.class = ClassBlocking
	before := r.Stats()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			f := fast
			if w%2 == 1 {
				f = slow
			}
			want := make([]byte, region)
			base := int64(w * region)
			ctx := context.Background()
			for range ops {
				off := rng.IntN(region)
				n := rng.IntN(region - off)
				switch p := make([]byte, n); rng.IntN(10) {
				case 0, 1, 2, 3:
					for i := range p {
						p[i] = byte(rng.Uint32())
					}
					copy(want[off:], p)
					if got, err := f.WriteAt(ctx, p, base+int64(off)); got != n || err != nil {
						t.Errorf("write: %d, %v", got, err)
					}
				case 4:
					if err := f.Fallocate(ctx, unix.FALLOC_FL_KEEP_SIZE, base, region); err != nil {
						t.Errorf("fallocate: %v", err)
					}
				case 5:
					fut, err := f.SubmitRead(ctx, p, base+int64(off))
					if err != nil {
						t.Error(err)
						continue
					}
					if got, err := fut.Wait(ctx); got != n || err != nil || !bytes.Equal(p, want[off:off+n]) {
						t.Errorf("future: %d, %v", got, err)
					}
				default:
					if got, err := f.ReadAt(ctx, p, base+int64(off)); got != n || err != nil || !bytes.Equal(p, want[off:off+n]) {
						t.Errorf("read: %d, %v", got, err)
					}
				}
			}
		})
	}
	wg.Wait()
	after := r.Stats()
	if got := after.Completed - before.Completed; got != workers*ops {
		t.Errorf("%d completions, want %d", got, workers*ops)
	}
	if after.InFlight != 0 || after.InFlightBytes != 0 || after.Spurious != 0 {
		t.Errorf("left over: %+v", after)
	}
}

// countFDs is the number of this process's descriptors.
func countFDs(tb testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(entries)
}

// goroutinesSettle waits until no more than want goroutines are left.
func goroutinesSettle(tb testing.TB, want int) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > want; runtime.Gosched() {
		if time.Now().After(end) {
			tb.Fatalf("%d goroutines, want %d", runtime.NumGoroutine(), want)
		}
	}
}

func TestCloseEndsWhatIsInFlight(t *testing.T) {
	fds, goroutines := countFDs(t), runtime.NumGoroutine()
	r, err := New(Config{})
	if err != nil {
		t.Skip(err)
	}
	var ends []int
	var files []*File
	for _, class := range []Class{ClassInline, ClassBlocking} {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		f, err := r.OpenClass(p[0], class)
		if err != nil {
			t.Fatal(err)
		}
		files, ends = append(files, f), append(ends, p[1])
	}
	var wg sync.WaitGroup
	for i := range 200 {
		f := files[i%2]
		wg.Go(func() {
			_, err := f.ReadAt(context.Background(), make([]byte, 1), AtPosition)
			if !errors.Is(err, syscall.EINTR) && !errors.Is(err, ErrClosed) {
				t.Errorf("read during close: %v", err)
			}
		})
	}
	for r.Stats().InFlight < 200 {
		runtime.Gosched()
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if _, err := files[0].ReadAt(context.Background(), make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if err := r.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	for i := range files {
		files[i].Close()
		unix.Close(ends[i])
	}
	goroutinesSettle(t, goroutines)
	if n := countFDs(t); n > fds {
		t.Errorf("%d descriptors, %d before", n, fds)
	}
}

// A descriptor closed during an operation stays open until that has ended:
// otherwise its number may name another file by the time the kernel looks.
func TestFileCloseWaitsForOperationsInFlight(t *testing.T) {
	r := newTestReactor(t, Config{})
	f, w := pipe(t, r, ClassBlocking)
	fut, err := f.SubmitRead(context.Background(), make([]byte, 1), AtPosition)
	if err != nil {
		t.Fatal(err)
	}
	fd := f.Fd()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("descriptor gone during the operation: %v", err)
	}
	if _, err := f.ReadAt(context.Background(), make([]byte, 1), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("read of a closed file: %v", err)
	}
	unix.Write(w, []byte("x"))
	if n, err := fut.Wait(context.Background()); n != 1 || err != nil {
		t.Error(n, err)
	}
	for end := time.Now().Add(time.Minute); ; runtime.Gosched() {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("descriptor left open")
		}
	}
}

func TestLimitsHoldCallersBack(t *testing.T) {
	limits := NewLimits(4, 1<<20)
	r := newTestReactor(t, Config{Limits: limits})
	f, w := pipe(t, r, ClassInline)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if n, err := f.ReadAt(context.Background(), make([]byte, 1), AtPosition); n != 1 || err != nil {
				t.Error(n, err)
			}
		})
	}
	for r.Stats().Waiting != 16 {
		runtime.Gosched()
	}
	if ops, _ := limits.InUse(); ops != 4 {
		t.Errorf("%d in flight, limit 4", ops)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := f.ReadAt(ctx, make([]byte, 1), AtPosition); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("waiting at the limit past its deadline: %v", err)
	}
	for range 20 {
		unix.Write(w, []byte("x"))
	}
	wg.Wait()
	if ops, bytes := limits.InUse(); ops != 0 || bytes != 0 {
		t.Errorf("left: %d operations, %d bytes", ops, bytes)
	}
}

func TestReadsOfTheFileSystemNeedNoAllocation(t *testing.T) {
	r := newTestReactor(t, Config{})
	f := openTemp(t, r, make([]byte, 1<<16), unix.O_RDWR)
	p := make([]byte, 4096)
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() { f.ReadAt(ctx, p, 4096) }); n != 0 {
		t.Errorf("%v allocations per read", n)
	}
	if n := testing.AllocsPerRun(1000, func() { ReadAt(f.Fd(), p, 4096) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations per read of a bare descriptor", n)
	}
}

func TestDefaultReactorReadsAndWrites(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	fd := int(file.Fd())
	if _, err := Default(); err != nil {
		t.Skip(err)
	}
	if n, err := Write(fd, []byte("hello, ")); n != 7 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := Write(fd, []byte("ring")); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := WriteAt(fd, []byte("H"), 0); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	p := make([]byte, 32)
	if n, err := ReadAt(fd, p, 0); err != nil || string(p[:n]) != "Hello, ring" {
		t.Errorf("%q, %v", p[:n], err)
	}
	if n, err := Read(fd, p); n != 0 || err != nil {
		t.Errorf("read at the end: %d, %v", n, err)
	}
}

// A host of many processors does not run out of descriptors.
func TestRingsAreBoundedOnLargeHosts(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(64))
	if n := newTestReactor(t, Config{}).Stats().Rings; n != 128 {
		t.Errorf("%d rings for 64 processors, want 128", n)
	}
}
