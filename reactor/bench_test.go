package reactor

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
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
	fd := benchFile(b, b.TempDir(), size)
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
