package reactor

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openIn makes a file in dir and puts it under the care of a reactor.
func openIn(t *testing.T, dir string) (*Reactor, *File) {
	t.Helper()
	r, err := New(Config{})
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { r.Close() })
	fd, err := unix.Open(filepath.Join(dir, "f"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return r, f
}

// cachedPages counts the pages of the file that the page cache holds.
func cachedPages(t *testing.T, fd, size int) (n int) {
	t.Helper()
	m, err := unix.Mmap(fd, 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	pages := make([]byte, size/os.Getpagesize())
	_, _, errno := syscall.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(size), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		t.Fatal(errno)
	}
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}

func TestUncachedReadsLeaveNothingInThePageCache(t *testing.T) {
	_, f := openIn(t, t.TempDir())
	ctx, data := context.Background(), bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if _, err := f.WriteAt(ctx, data, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Fsync(ctx, false); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(f.Fd(), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
	f.SetUncached()
	got := make([]byte, len(data))
	n, err := f.ReadAt(ctx, got, 0)
	if err != nil || n != len(data) || !bytes.Equal(got, data) {
		t.Fatalf("ReadAt: %d, %v", n, err)
	}
	if f.rwFlags.Load() == 0 {
		t.Skip("the filesystem of the temporary directory has no uncached I/O")
	}
	if n := cachedPages(t, f.Fd(), len(data)); n > len(data)/os.Getpagesize()/10 {
		t.Errorf("%d pages are cached after an uncached read", n)
	}
}

// TestUncachedWhereTheBackingHasNone: tmpfs is nothing but page cache.
func TestUncachedWhereTheBackingHasNone(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "uncached")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	_, f := openIn(t, dir)
	f.SetUncached()
	ctx := context.Background()
	if n, err := f.WriteAt(ctx, []byte("hello"), 0); n != 5 || err != nil {
		t.Errorf("WriteAt: %d, %v", n, err)
	}
	got := make([]byte, 5)
	if n, err := f.ReadAt(ctx, got, 0); n != 5 || err != nil || string(got) != "hello" {
		t.Errorf("ReadAt: %d, %v, %q", n, err, got)
	}
}
