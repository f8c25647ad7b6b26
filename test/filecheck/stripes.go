package main

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// stripe is how much of the shared file belongs to one worker, in bytes, before
// the next one's begins: no divisor of a page or a block.
const stripe = 6007

// sharedFile is written by all workers at once, each in its own stripes.
// Half of the file is for descriptors with a cache and mappings, half for
// O_DIRECT: on one page the two are not coherent while both are at work.
type sharedFile struct {
	c    config
	f    *file
	want []byte
}

// rounds is how many stripes of each worker are in each half.
const rounds = 4

func newShared(c config) (*sharedFile, error) {
	half := rounds * stripe * c.workers
	half += 65536 - half%65536 // the halves share no folio
	c.size = 2 * half
	f, err := openFile(filepath.Join(c.dir, "shared"), c)
	if err == nil {
		err = unix.Ftruncate(f.fds[plain], int64(c.size))
	}
	return &sharedFile{c: c, f: f, want: make([]byte, c.size)}, err
}

func (s *sharedFile) close() {
	s.f.close()
	unix.Unlink(s.f.path)
}

func (s *sharedFile) end() error {
	for _, path := range []string{s.f.path, s.c.inSource(s.f.path)} {
		if path == "" {
			continue
		}
		if err := unix.Fsync(s.f.fds[plain]); err != nil {
			return err
		}
		got, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := s.differ("at the end, "+path, got, 0); err != nil {
			return err
		}
	}
	return nil
}

func (s *sharedFile) differ(how string, got []byte, off int) error {
	want := s.want[off : off+len(got)]
	if bytes.Equal(got, want) {
		return nil
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Errorf("shared file, %s: byte %d is %#02x in place of %#02x, in the stripe of worker %d", how, off+i, got[i], want[i], s.owner(off+i))
		}
	}
	return nil
}

func (s *sharedFile) owner(off int) int { return off % (s.c.size / 2) / stripe % s.c.workers }

// striper is one worker's way into the shared file.
type striper struct {
	*sharedFile
	i   int
	rng *rand.Rand
}

func (s *sharedFile) worker(i int) *striper {
	return &striper{s, i, rand.New(rand.NewSource(s.c.seed + 1000 + int64(i)))}
}

func (s *striper) step() error {
	off := (s.rng.Intn(rounds)*s.c.workers + s.i) * stripe
	skip := s.rng.Intn(stripe)
	length := 1 + s.rng.Intn(stripe-skip)
	if s.rng.Intn(3) == 0 {
		skip, length = 0, stripe // to the very edges
	}
	off += skip
	kind, mapping := plain, !s.c.apart
	if s.c.align == 1 && s.rng.Intn(2) == 0 {
		kind, mapping = direct, false
		off += s.c.size / 2
	}
	fd := s.f.fds[kind]
	p := make([]byte, length)
	write := func() error {
		s.rng.Read(p)
		n, err := unix.Pwrite(fd, p, int64(off))
		if err != nil || n != length {
			return fmt.Errorf("pwrite: %d of %d at %d, %w", n, length, off, err)
		}
		copy(s.want[off:], p)
		return nil
	}
	switch do := s.rng.Intn(10); {
	case do < 4:
		return write()
	case do < 6 && mapping:
		s.rng.Read(p)
		copy(s.f.mapped[off:], p)
		copy(s.want[off:], p)
		return nil
	case do < 8 && mapping:
		return s.differ("through the mapping", s.f.mapped[off:off+length], off)
	}
	n, err := unix.Pread(fd, p, int64(off))
	if err != nil || n != length {
		return fmt.Errorf("pread: %d of %d at %d, %w", n, length, off, err)
	}
	return s.differ(fmt.Sprintf("pread of descriptor %d", kind), p, off)
}
