package fs_test

import (
	"fmt"
	"strings"
)

// rangesScript: what ranges of a file may be copied, sought, reserved and written,
// at its end, at the limits of the process and at those of the file system.
func rangesScript(s *script) {
	text := long(3000)
	do := func(user, call string) { s.do(user, "%s", strings.ReplaceAll(call, "TEXT", text)) }
	for _, user := range []string{super, owner} {
		a, b := s.fresh("ra"), s.fresh("rb")
		s.do(user, "open %s rw|creat 0644 a", a)
		s.do(user, "open %s rw|creat 0644 b", b)
		do(user, "pwrite a TEXT 0")
		s.do(user, "open %s r 0 ro", a)
		s.do(user, "open %s w 0 wo", b)
		s.do(user, "open %s w|append 0 app", b)
		s.do(user, "open %s path 0 path", a)
		s.do(user, "open . r|dir 0 dir")
		s.do(user, "mknod %s.p fifo 0600", a)
		s.do(user, "open %s.p rw 0 fifo", a)
		s.do(user, "pipe in out")
		s.do(user, "write out abc")
		s.do(user, "open /dev/null rw 0 null")
		s.do(user, "open /dev/zero rw 0 zero")
		// Sources and targets that may not be, or not so.
		for _, pair := range []string{"a b", "ro b", "a ro", "wo a", "b wo", "a app", "path b", "b path", "dir b", "a dir",
			"fifo b", "a fifo", "in b", "a out", "zero b", "a null", "nothing b", "a nothing"} {
			s.do(user, "copyrange %s 10 0 0", pair)
			s.do(user, "fstat b")
		}
		// At, across and beyond the end; nothing; too much; within one file.
		for _, c := range []string{"a b 100 3000 0", "a b 100 2990 7", "a b 100 9999 0", "a b 0 0 0", "a b 10 -1 0", "a b 10 0 -1",
			"a b 4611686018427387904 0 100", "a b 9223372036854775807 0 0", "a b 10 9223372036854775800 0", "a b 10 0 9223372036854775800",
			"a b 10 0 4611686018427387904", "a a 1000 0 100", "a a 1000 100 0", "a a 1000 0 1000", "a a 10000 2500 2900", "a a 100 0 3000"} {
			s.do(user, "copyrange %s", c)
			s.do(user, "fstat b")
			s.do(user, "fstat a")
		}
		s.do(user, "copyrange a b 10 0 0 1") // no such flag
		// What is dirty in a mapping is copied, and does not come back over the copy.
		s.do(user, "mmapwrite a 40 mapped")
		s.do(user, "mmapwrite b 0 mapped")
		s.do(user, "copyrange a b 10 38 2")
		s.do(user, "pread b 14 0")

		// Between holes.
		f := s.fresh("rh")
		s.do(user, "open %s rw|creat 0644 f", f)
		for _, call := range []string{"fstat f", "pwrite f TEXT 40960", "fallocate f 0 200000 100000", "fallocate f 3 40960 4096"} {
			do(user, call)
			s.do(user, "fsync f")
			for _, off := range []int{0, 1, 40959, 40960, 40961, 45055, 45056, 81919, 81920, 250000, 299999, 300000, 400000, -1} {
				s.do(user, "lseek f %d data", off)
				s.do(user, "lseek f %d hole", off)
			}
			s.do(user, "lseek f 0 cur")
		}
		s.do(user, "lseek fifo 0 set")

		// The limits of the file system, where they are: one byte and one page
		// around each power of two that is one somewhere.
		h := s.fresh("rz")
		s.do(user, "open %s rw|creat 0644 h", h)
		for _, end := range []uint64{1 << 31, 1 << 32, 1 << 40, 1 << 44, 1 << 45, 1 << 50, 1 << 62, 1 << 63} {
			for _, below := range []uint64{1, 2, 4096, 4097, 8192, 65536} {
				off := int64(end - below)
				s.do(user, "pwrite h x %d", off)
				do(user, fmt.Sprint("pwrite h TEXT ", off))
				s.do(user, "fstat h")
				s.do(user, "pread h 4 %d", off)
				s.do(user, "ftruncate h %d", off)
				s.do(user, "fstat h")
				s.do(user, "lseek h 1 end")
				s.do(user, "lseek h %d set", off)
				s.do(user, "lseek h 1 cur")
				s.do(user, "lseek h 0 hole")
				s.do(user, "fallocate h 1 %d 4096", off)
				s.do(user, "fallocate h 0 %d 1", off)
				s.do(user, "fallocate h 3 %d 4096", off)
				s.do(user, "copyrange a h 100 0 %d", off)
				s.do(user, "fstat h")
				s.do(user, "ftruncate h 0")
			}
		}
	}
	// The limit of the process (RLIMIT_FSIZE).
	s.do(owner, "open lim rw|creat 0644 l")
	s.do(owner, "open lim w|append 0 la")
	s.do(owner, "open src rw|creat 0644 src")
	do(owner, "pwrite src TEXT 0")
	s.do(owner, "fsize 10000")
	for _, call := range []string{"pwrite l TEXT 8000", "pwrite l TEXT 10000", "pwrite l TEXT 20000", "write la TEXT", "ftruncate l 9000", "write la TEXT",
		"ftruncate l 10001", "truncate lim 10001", "ftruncate l 10000", "fallocate l 0 0 10001", "fallocate l 0 0 10000",
		"copyrange src l 3000 0 9000", "copyrange src l 3000 0 10000", "mmapwrite l 0 within"} {
		do(owner, call)
		s.do(owner, "fstat l")
	}
	s.do(owner, "fsize %d", int64(-1))
	do(owner, "pwrite l TEXT 10000")

	// Files that may not be changed are no target, and may be a source.
	for _, flag := range []string{"i", "a"} {
		name := fmt.Sprint("flag", flag)
		s.do(owner, "open %s rw|creat 0644 t", name)
		s.do(owner, "write t text")
		s.do(super, "setflags t %s", flag)
		for _, user := range []string{super, owner} {
			s.do(user, "copyrange src t 10 0 0")
			s.do(user, "copyrange t src 4 0 0")
			for _, mode := range []int{0, 1, 3, 16} {
				s.do(user, "fallocate t %d 0 4096", mode)
			}
			s.do(user, "ftruncate t 1")
			s.do(user, "pwrite t x 0")
			s.do(user, "fstat t")
		}
		s.do(super, "setflags t -")
	}
}
