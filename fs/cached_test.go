package fs_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel has not written back yet is part of the file: test/filecheck
// found both of these.

// openRW opens name in dir with further flags.
func openRW(t *testing.T, dir, name string, flags int) int {
	t.Helper()
	fd, err := unix.Open(filepath.Join(dir, name), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|flags, 0644)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// Data that was stored through a mapping is no hole to lseek(2). The kernel asks
// the tree without writing dirty pages back, and cp --sparse would lose them.
func TestMappedDataIsNoHole(t *testing.T) {
	for _, transport := range transports(t) {
		for _, opts := range []testOptions{cached, {DirectIO: true}, {WritebackCache: true}} {
			d := startMount(t, serveConfig{Source: t.TempDir(), Transport: transport, Options: opts}, nil)
			fd := openRW(t, d.dir, "f", 0)
			const size, at = 1 << 20, 192 << 10
			if err := unix.Ftruncate(fd, size); err != nil {
				t.Fatal(err)
			}
			mapped, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			if err != nil {
				t.Fatal(err)
			}
			mapped[at] = 1
			if data, err := unix.Seek(fd, 0, unix.SEEK_DATA); err != nil || data > at {
				t.Errorf("%s, %+v: SEEK_DATA finds %d, %v; data is at %d", transport, opts, data, err, at)
			}
			unix.Munmap(mapped)
			unix.Close(fd)
		}
	}
}

// With the writeback cache an O_DIRECT read before data that is not written back
// reads zeros, not the end of the file.
func TestDirectReadBeforeUnwrittenData(t *testing.T) {
	for _, transport := range transports(t) {
		d := startMount(t, serveConfig{Source: t.TempDir(), Transport: transport, Options: testOptions{
			AttrTimeout: time.Hour, EntryTimeout: time.Hour, WritebackCache: true,
		}}, nil)
		fd, direct := openRW(t, d.dir, "f", 0), openRW(t, d.dir, "f", unix.O_DIRECT)
		if _, err := unix.Pwrite(fd, []byte("far out"), 300_000); err != nil {
			t.Fatal(err)
		}
		p := bytes.Repeat([]byte{1}, 8192)
		if n, err := unix.Pread(direct, p, 64<<10); err != nil || n != len(p) || !bytes.Equal(p, make([]byte, len(p))) {
			t.Errorf("%s: %d bytes of %d, %v", transport, n, len(p), err)
		}
		if n, err := unix.Pread(direct, p, 300_000-4); err != nil || string(p[:n]) != "\x00\x00\x00\x00far out" {
			t.Errorf("%s: %q, %v", transport, p[:n], err)
		}
		unix.Close(fd)
		unix.Close(direct)
	}
}

// What was written before a file became immutable is in it, also when the kernel
// had not written it back. ext4 takes no data of an immutable inode, not even
// through a descriptor that was open before.
func TestImmutableFileHasWhatWasWritten(t *testing.T) {
	needRoot(t)
	for _, b := range backings(t) {
		if b.name != "ext4" {
			continue
		}
		source := b.mount(t)
		d := startMount(t, serveConfig{Source: source, Options: testOptions{
			AttrTimeout: time.Hour, EntryTimeout: time.Hour, WritebackCache: true,
		}}, nil)
		fd := openRW(t, d.dir, "f", 0)
		defer unix.Close(fd)
		if _, err := unix.Write(fd, []byte("written")); err != nil {
			t.Fatal(err)
		}
		for _, flags := range []int32{unix.STATX_ATTR_IMMUTABLE, 0} {
			if err := ioctlPtr(fd, unix.FS_IOC_SETFLAGS, unsafe.Pointer(&flags)); err != nil {
				t.Fatal(err)
			}
			if got := read(t, filepath.Join(source, "f")); got != "written" {
				t.Errorf("flags %#x: the source has %q", flags, got)
			}
		}
	}
}
