package reactor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// benchFile is an open file of size bytes in dir.
func benchFile(tb testing.TB, dir string, size int) int {
	tb.Helper()
	path := filepath.Join(dir, "data")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		tb.Fatal(err)
	}
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { syscall.Close(fd) })
	return fd
}

// readLoop makes read a subject's function, at offsets all over a file of that
// size.
func readLoop(b *testing.B, size, block int64, read func(off int64) (int, error)) func(int) {
	off := int64(0)
	return func(n int) {
		for range n {
			off = (off + block*7919) % size
			if n, err := read(off); n != int(block) || err != nil {
				b.Fatal(n, err)
			}
		}
	}
}

// BenchmarkReadCached4k is the price of the reactor where it cannot gain: one
// caller, everything in the page cache.
func BenchmarkReadCached4k(b *testing.B) {
	const size = 1 << 20
	fd := benchFile(b, benchDir(b), size)
	r := newTestReactor(b, Config{})
	dup, err := syscall.Dup(fd)
	if err != nil {
		b.Fatal(err)
	}
	f, err := r.Open(dup)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 4096)
	ctx := context.Background()
	b.ReportAllocs()
	compare(b, 100,
		subject{"pread", readLoop(b, size, 4096, func(off int64) (int, error) { return syscall.Pread(fd, p, off) })},
		subject{"reactor", readLoop(b, size, 4096, func(off int64) (int, error) { return f.ReadAt(ctx, p, off) })})
}

// benchDir is where the files of a benchmark lie: $BENCH_DIR, which
// scripts/bench-reactor points to the file systems it makes.
func benchDir(b *testing.B) string {
	dir := os.Getenv("BENCH_DIR")
	if dir == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(dir, "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// BenchmarkReadDepth compares, at a number of reads in flight, what one goroutine
// with futures does with as many goroutines that call pread, os.File or the
// reactor. Every slice reads at random offsets.
func BenchmarkReadDepth(b *testing.B) {
	for _, direct := range []bool{false, true} {
		name := "cached"
		if direct {
			name = "direct"
		}
		b.Run(name, func(b *testing.B) {
			fd := benchFile(b, benchDir(b), depthFile)
			if direct {
				if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_RDWR|unix.O_DIRECT); err != nil {
					b.Skip("no O_DIRECT here:", err)
				}
				unix.Fsync(fd)
			}
			for _, depth := range []int{1, 4, 16, 64, 256, 1024} {
				b.Run(fmt.Sprint(depth), func(b *testing.B) { benchDepth(b, fd, depth) })
			}
		})
	}
}

const depthFile = 256 << 20

// offsets is a random sequence of places for 4 KiB in depthFile, of one user.
func offsets(seed uint64) func() int64 {
	rng := rand.New(rand.NewPCG(seed, 1))
	return func() int64 { return rng.Int64N(depthFile/4096) * 4096 }
}

func benchDepth(b *testing.B, fd, depth int) {
	r := newTestReactor(b, Config{})
	dup, err := syscall.Dup(fd)
	if err != nil {
		b.Fatal(err)
	}
	f, err := r.Open(dup)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if fd, err = syscall.Dup(fd); err != nil {
		b.Fatal(err)
	}
	osFile := os.NewFile(uintptr(fd), "data")
	defer osFile.Close()
	buffers := make([][]byte, depth)
	for i := range buffers {
		buffers[i] = alignedBytes(4096)
	}
	ctx := context.Background()
	// goroutines makes a subject of depth goroutines that share n reads.
	goroutines := func(read func(p []byte, off int64) (int, error)) func(int) {
		return func(n int) {
			var left atomic.Int64
			left.Store(int64(n))
			var wg sync.WaitGroup
			for i, p := range buffers {
				wg.Go(func() {
					next := offsets(uint64(i))
					for left.Add(-1) >= 0 {
						if n, err := read(p, next()); n != len(p) || err != nil {
							b.Error(n, err)
							return
						}
					}
				})
			}
			wg.Wait()
		}
	}
	tasks := newTestExecutor(b, ExecutorConfig{})
	compare(b, 4*depth,
		subject{"pread", goroutines(func(p []byte, off int64) (int, error) { return syscall.Pread(fd, p, off) })},
		subject{"osfile", goroutines(func(p []byte, off int64) (int, error) { return osFile.ReadAt(p, off) })},
		subject{"goroutines", goroutines(func(p []byte, off int64) (int, error) { return f.ReadAt(ctx, p, off) })},
		subject{"futures", func(n int) { readFutures(b, f, buffers, n) }},
		subject{"tasks", func(n int) { readTasks(b, tasks, f, buffers, n) }})
}

// readFutures keeps as many reads in flight as there are buffers, from one
// goroutine.
func readFutures(b *testing.B, f *File, buffers [][]byte, n int) {
	ctx, next := context.Background(), offsets(1)
	futures := make([]*Future, len(buffers))
	for i := range n + len(futures) {
		at := i % len(futures)
		if future := futures[at]; future != nil {
			if n, err := future.Wait(ctx); n != 4096 || err != nil {
				b.Fatal(n, err)
			}
		}
		if i < n {
			var err error
			if futures[at], err = f.SubmitRead(ctx, buffers[at], next()); err != nil {
				b.Fatal(err)
			}
		} else {
			futures[at] = nil
		}
	}
}

// readTasks has one task of e for each buffer, all on one thread.
func readTasks(b *testing.B, e *Executor, f *File, buffers [][]byte, n int) {
	ctx := context.Background()
	left := n // of the tasks, which share a thread
	for i, p := range buffers {
		err := e.Spawn(func(*Task) {
			for next := offsets(uint64(i)); left > 0; {
				left--
				if n, err := f.ReadAt(ctx, p, next()); n != len(p) || err != nil {
					b.Error(n, err)
					return
				}
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Run(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRings says how many rings pay, for callers that read what is cached.
func BenchmarkRings(b *testing.B) {
	const callers = 16
	fd := benchFile(b, benchDir(b), 16<<20)
	var subjects []subject
	add := func(name string, read func(p []byte, off int64) (int, error)) {
		subjects = append(subjects, subject{name, func(n int) {
			var wg sync.WaitGroup
			for i := range callers {
				wg.Go(func() {
					p, next := make([]byte, 4096), offsets(uint64(i))
					for range n / callers {
						if _, err := read(p, next()%(16<<20)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		}})
	}
	add("pread", func(p []byte, off int64) (int, error) { return syscall.Pread(fd, p, off) })
	for _, rings := range []int{1, 2, 4, 8, 16, 32} {
		r := newTestReactor(b, Config{Rings: rings})
		dup, err := syscall.Dup(fd)
		if err != nil {
			b.Fatal(err)
		}
		f, err := r.Open(dup)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		add(fmt.Sprintf("rings%d", rings), func(p []byte, off int64) (int, error) {
			return f.ReadAt(context.Background(), p, off)
		})
	}
	compare(b, 64*callers, subjects...)
}

// BenchmarkTmpfs compares a tmpfs file as the reactor opens it (O_NONBLOCK and
// O_DIRECT) with one without those flags, and with the system calls.
func BenchmarkTmpfs(b *testing.B) {
	fd, err := unix.MemfdCreate("bench", unix.MFD_CLOEXEC)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	const size = 1 << 20
	if _, err := unix.Pwrite(fd, make([]byte, size), 0); err != nil {
		b.Fatal(err)
	}
	r := newTestReactor(b, Config{})
	openAgain := func() *File {
		again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		f, err := r.Open(again)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { f.Close() })
		return f
	}
	fast, plain := openAgain(), openAgain()
	plain.setNonblock(false)
	p := make([]byte, 4096)
	ctx := context.Background()
	b.Run("read", func(b *testing.B) {
		compare(b, 16,
			subject{"pread", readLoop(b, size, 4096, func(off int64) (int, error) { return syscall.Pread(fd, p, off) })},
			subject{"plain", readLoop(b, size, 4096, func(off int64) (int, error) { return plain.ReadAt(ctx, p, off) })},
			subject{"flags", readLoop(b, size, 4096, func(off int64) (int, error) { return fast.ReadAt(ctx, p, off) })})
	})
	b.Run("write", func(b *testing.B) {
		compare(b, 16,
			subject{"pwrite", readLoop(b, size, 4096, func(off int64) (int, error) { return syscall.Pwrite(fd, p, off) })},
			subject{"plain", readLoop(b, size, 4096, func(off int64) (int, error) { return plain.WriteAt(ctx, p, off) })},
			subject{"flags", readLoop(b, size, 4096, func(off int64) (int, error) { return fast.WriteAt(ctx, p, off) })})
	})
}

// BenchmarkSpin says what the reaper's bounded spin is worth: reads that do not
// end inside their system call, with it and without.
func BenchmarkSpin(b *testing.B) {
	fd := benchFile(b, benchDir(b), depthFile)
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_RDWR|unix.O_DIRECT); err != nil {
		b.Skip("no O_DIRECT here:", err)
	}
	var subjects []subject
	for _, spin := range []time.Duration{-1, 5 * time.Microsecond, 20 * time.Microsecond, 100 * time.Microsecond} {
		r := newTestReactor(b, Config{spin: spin})
		dup, err := syscall.Dup(fd)
		if err != nil {
			b.Fatal(err)
		}
		f, err := r.Open(dup)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		p := alignedBytes(4096)
		name := "none"
		if spin > 0 {
			name = spin.String()
		}
		subjects = append(subjects, subject{name, readLoop(b, depthFile, 4096, func(off int64) (int, error) { return f.ReadAt(context.Background(), p, off) })})
	}
	compare(b, 16, subjects...)
}
