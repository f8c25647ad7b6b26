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

func BenchmarkReadCached4k(b *testing.B) {
	const size = 64 << 20
	fd := benchFile(b, b.TempDir(), size)
	r, err := New(Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
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
	b.Run("pread", func(b *testing.B) {
		b.ReportAllocs()
		off := int64(0)
		for b.Loop() {
			off = (off + 4096*7919) % size
			if n, err := syscall.Pread(fd, p, off); n != len(p) || err != nil {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("reactor", func(b *testing.B) {
		b.ReportAllocs()
		ctx := context.Background()
		off := int64(0)
		for b.Loop() {
			off = (off + 4096*7919) % size
			if n, err := f.ReadAt(ctx, p, off); n != len(p) || err != nil {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("pread parallel", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			p := make([]byte, 4096)
			off := int64(0)
			for pb.Next() {
				off = (off + 4096*7919) % size
				if n, err := syscall.Pread(fd, p, off); n != len(p) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	})
	b.Run("reactor parallel", func(b *testing.B) {
		b.SetParallelism(8)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			p := make([]byte, 4096)
			ctx := context.Background()
			off := int64(0)
			for pb.Next() {
				off = (off + 4096*7919) % size
				if n, err := f.ReadAt(ctx, p, off); n != len(p) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	})
}
