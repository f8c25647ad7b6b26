package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How a file is open. All at once.
const (
	plain    = iota // the page cache of the mount
	appendTo        // O_APPEND
	synced          // O_DSYNC
	direct          // O_DIRECT
	descriptors
)

// file is a file and what must be in it.
type file struct {
	path   string
	fds    [descriptors]int // -1: not open
	mapped []byte           // of the whole largest size; good below len(want)

	want []byte
	by   []int32 // the step that wrote each byte of want
}

func openFile(path string, c config) (*file, error) {
	f := &file{path: path, fds: [...]int{-1, -1, -1, -1}}
	return f, f.open(c, unix.O_CREAT|unix.O_EXCL)
}

// open opens every descriptor; flags go with the first.
func (f *file) open(c config, flags int) (err error) {
	for kind, mode := range [...]int{unix.O_RDWR, unix.O_WRONLY | unix.O_APPEND, unix.O_RDWR | unix.O_DSYNC, unix.O_RDWR | unix.O_DIRECT} {
		if kind == direct && c.align == 0 {
			continue
		}
		if f.fds[kind], err = unix.Open(f.path, mode|flags|unix.O_CLOEXEC, 0644); err != nil {
			return fmt.Errorf("open %s with flags %#o: %w", f.path, mode|flags, err)
		}
		flags = 0
	}
	f.mapped, err = unix.Mmap(f.fds[plain], 0, c.size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	return nil
}

// close closes everything, and returns what close(2) had to say.
func (f *file) close() error {
	var errs []error
	if f.mapped != nil {
		errs = append(errs, unix.Munmap(f.mapped))
		f.mapped = nil
	}
	for i, fd := range f.fds {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
		f.fds[i] = -1
	}
	return errors.Join(errs...)
}

// resize makes the model as long as a truncate would.
func (f *file) resize(size, step int) {
	for len(f.want) < size {
		f.want = append(f.want, make([]byte, size-len(f.want))...)
	}
	f.want = f.want[:size]
	for len(f.by) < size {
		f.by = append(f.by, int32(step))
	}
	f.by = f.by[:size]
}

// put changes the model as a write would.
func (f *file) put(p []byte, off, step int) {
	if off+len(p) > len(f.want) {
		f.resize(off+len(p), step)
	}
	copy(f.want[off:], p)
	for i := range p {
		f.by[off+i] = int32(step)
	}
}

// A mismatch is a byte that is not what it must be.
type mismatch struct {
	how       string
	off       int
	got, want byte
	wrong     int // bytes that differ
	step      int // that wrote it
}

func (m *mismatch) Error() string {
	return fmt.Sprintf("%s: byte %d is %#02x in place of %#02x, which step %d wrote (%d bytes differ)", m.how, m.off, m.got, m.want, m.step, m.wrong)
}

// same compares what was read at off with what must be there.
func (f *file) same(how string, got []byte, off int) error {
	want := f.want[min(off, len(f.want)):]
	if len(want) > len(got) {
		want = want[:len(got)]
	}
	if bytes.Equal(got, want) {
		return nil
	}
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d bytes at %d, %d must be there", how, len(got), off, len(want))
	}
	m := &mismatch{how: how, wrong: 0, off: -1}
	for i := range got {
		if got[i] != want[i] {
			if m.wrong++; m.off < 0 {
				m.off, m.got, m.want, m.step = off+i, got[i], want[i], int(f.by[off+i])
			}
		}
	}
	return m
}

// whole compares all of the file, its size and its holes.
func (f *file) whole(path string) error {
	got, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(got) != len(f.want) {
		return fmt.Errorf("%s has %d bytes, must have %d", path, len(got), len(f.want))
	}
	return f.same("all of "+path, got, 0)
}

// sized checks what stat(2) says.
func (f *file) sized() error {
	var byFD, byPath unix.Stat_t
	if err := errors.Join(unix.Fstat(f.fds[plain], &byFD), unix.Stat(f.path, &byPath)); err != nil {
		return err
	}
	if byFD.Size != int64(len(f.want)) || byPath.Size != byFD.Size {
		return fmt.Errorf("fstat says %d bytes, stat %d, must be %d", byFD.Size, byPath.Size, len(f.want))
	}
	return nil
}

// holes checks that nothing but zeros is where lseek(2) tells of a hole.
func (f *file) holes() error {
	size := int64(len(f.want))
	for off := int64(0); off < size; {
		data, err := unix.Seek(f.fds[plain], off, unix.SEEK_DATA)
		if err == syscall.ENXIO {
			data = size
		} else if err != nil {
			return fmt.Errorf("SEEK_DATA from %d: %w", off, err)
		}
		data = min(data, size)
		for i := off; i < data; i++ {
			if f.want[i] != 0 {
				return fmt.Errorf("SEEK_DATA from %d finds %d, but %d has data of step %d", off, data, i, f.by[i])
			}
		}
		if data == size {
			return nil
		}
		if off, err = unix.Seek(f.fds[plain], data, unix.SEEK_HOLE); err != nil {
			return fmt.Errorf("SEEK_HOLE from %d: %w", data, err)
		}
	}
	return nil
}

// aligned returns n bytes that begin at a multiple of align, plus skew.
func aligned(n, align, skew int) []byte {
	buf := make([]byte, n+align+skew)
	at := int(uintptr(unsafe.Pointer(unsafe.SliceData(buf))) % uintptr(max(align, 1)))
	start := skew
	if at != 0 {
		start += align - at
	}
	return buf[start : start+n]
}
