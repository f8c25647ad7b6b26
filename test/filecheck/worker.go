package main

import (
	"errors"
	"fmt"
	"math/rand"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// worker has two files to itself.
type worker struct {
	c     config
	rng   *rand.Rand
	files [2]*file
	n     int      // steps begun
	at    string   // the file of the present one
	log   []string // of all steps
}

func newWorker(c config, i int) (*worker, error) {
	w := &worker{c: c, rng: rand.New(rand.NewSource(c.seed + int64(i)))}
	for j := range w.files {
		f, err := openFile(filepath.Join(c.dir, fmt.Sprintf("own-%d-%d", i, j)), c)
		w.files[j] = f
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *worker) close() {
	for _, f := range w.files {
		f.close()
		unix.Unlink(f.path)
	}
}

// end compares everything once more.
func (w *worker) end() error {
	for _, f := range w.files {
		if err := w.compare(f); err != nil {
			return w.explain(err)
		}
	}
	return nil
}

// explain adds the steps that led to err.
func (w *worker) explain(err error) error {
	from := max(len(w.log)-40, 0)
	var m *mismatch
	if errors.As(err, &m) {
		from = min(from, max(m.step-3, len(w.log)-400, 0))
	}
	return fmt.Errorf("%w\nthe steps before:\n%s", err, strings.Join(w.log[from:], "\n"))
}

func (w *worker) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%5d %s: ", w.n, w.at)+fmt.Sprintf(format, args...))
}

// operations and how often they come. Each does what it does to the file and to
// the model of it, and checks the answer.
var operations = []struct {
	weight int
	do     func(*worker, *file) error
}{
	{20, (*worker).write},
	{15, (*worker).read},
	{12, (*worker).writeMap},
	{10, (*worker).readMap},
	{4, (*worker).writev},
	{4, (*worker).append},
	{5, (*worker).truncate},
	{8, (*worker).fallocate},
	{8, (*worker).copy},
	{3, (*worker).sync},
	{2, (*worker).rename},
	{2, (*worker).reopen},
	{2, (*worker).drop},
	{2, func(w *worker, f *file) error { w.note("holes"); return f.holes() }},
	{2, (*worker).compare},
}

// step does something to one of the files.
func (w *worker) step() error {
	total := 0
	for _, o := range operations {
		total += o.weight
	}
	f := w.files[w.rng.Intn(len(w.files))]
	w.at = filepath.Base(f.path)
	pick := w.rng.Intn(total)
	for _, o := range operations {
		if pick -= o.weight; pick < 0 {
			w.n++
			if err := o.do(w, f); err != nil {
				return fmt.Errorf("step %d on %s: %w", w.n, f.path, err)
			}
			break
		}
	}
	return f.sized()
}

// place is where to do something below limit: bounds of pages and odd ones,
// short and long.
func (w *worker) place(limit int) (off, length int) {
	off = w.rng.Intn(limit)
	length = 1 + w.rng.Intn([]int{20, 5000, 70_000}[w.rng.Intn(3)])
	switch w.rng.Intn(4) {
	case 0:
		off &^= 4095
	case 1:
		off, length = off&^4095, (length+4095)&^4095
	}
	return off, min(length, limit-off)
}

// forDirect is place for a descriptor, whose requests may have to be aligned.
func (w *worker) forDirect(kind, limit int) (off, length int, ok bool) {
	off, length = w.place(limit)
	if kind == direct {
		off -= off % w.c.align
		length -= length % w.c.align
	}
	return off, length, length > 0
}

// data is what to write: n random bytes at a random or an aligned address.
func (w *worker) data(kind, n int) []byte {
	p := aligned(n, 4096, w.skew(kind))
	w.rng.Read(p)
	return p
}

func (w *worker) skew(kind int) int {
	if kind == direct && w.c.align > 1 {
		return 0
	}
	return w.rng.Intn(2) * w.rng.Intn(4096)
}

// kind is one of the descriptors that can be written anywhere.
func (w *worker) kind(f *file) int {
	kind := []int{plain, plain, synced, direct}[w.rng.Intn(4)]
	if f.fds[kind] < 0 {
		return plain
	}
	return kind
}

func (w *worker) write(f *file) error {
	kind := w.kind(f)
	off, length, ok := w.forDirect(kind, w.c.size)
	if !ok {
		return nil
	}
	p := w.data(kind, length)
	w.note("pwrite to %d: %d bytes at %d", kind, length, off)
	n, err := unix.Pwrite(f.fds[kind], p, int64(off))
	if err != nil || n != length {
		return fmt.Errorf("pwrite: %d, %w", n, err)
	}
	f.put(p, off, w.n)
	return nil
}

func (w *worker) writev(f *file) error {
	off, length := w.place(w.c.size)
	p := w.data(plain, length)
	a := w.rng.Intn(length)
	b := a + w.rng.Intn(length-a)
	w.note("pwritev: %d bytes at %d, cut at %d and %d", length, off, a, b)
	n, err := unix.Pwritev(f.fds[plain], [][]byte{p[:a], p[a:b], p[b:]}, int64(off))
	if err != nil || n != length {
		return fmt.Errorf("pwritev: %d, %w", n, err)
	}
	f.put(p, off, w.n)
	return nil
}

func (w *worker) append(f *file) error {
	if len(f.want) == w.c.size {
		return nil
	}
	length := 1 + w.rng.Intn(min(9000, w.c.size-len(f.want)))
	p := w.data(appendTo, length)
	w.note("append %d bytes at %d", length, len(f.want))
	n, err := unix.Write(f.fds[appendTo], p)
	if err != nil || n != length {
		return fmt.Errorf("append: %d, %w", n, err)
	}
	f.put(p, len(f.want), w.n)
	return nil
}

func (w *worker) read(f *file) error {
	kind := w.kind(f)
	off, length, ok := w.forDirect(kind, w.c.size)
	if !ok {
		return nil
	}
	p := aligned(length, 4096, w.skew(kind))
	w.note("pread from %d: %d bytes at %d", kind, length, off)
	n, err := unix.Pread(f.fds[kind], p, int64(off))
	if err != nil {
		return fmt.Errorf("pread: %w", err)
	}
	if must := max(0, min(length, len(f.want)-off)); n != must {
		return fmt.Errorf("pread of descriptor %d: %d bytes at %d, must be %d", kind, n, off, must)
	}
	return f.same(fmt.Sprint("pread of descriptor ", kind), p[:n], off)
}

func (w *worker) writeMap(f *file) error {
	if len(f.want) == 0 {
		return nil
	}
	off, length := w.place(len(f.want))
	p := w.data(plain, length)
	w.note("store to the mapping: %d bytes at %d", length, off)
	copy(f.mapped[off:], p)
	f.put(p, off, w.n)
	return nil
}

func (w *worker) readMap(f *file) error {
	if len(f.want) == 0 {
		return nil
	}
	off, length := w.place(len(f.want))
	w.note("load from the mapping: %d bytes at %d", length, off)
	return f.same("the mapping", f.mapped[off:off+length], off)
}

func (w *worker) truncate(f *file) error {
	size := w.rng.Intn(w.c.size + 1)
	switch w.rng.Intn(4) {
	case 0:
		w.note("truncate to %d", size)
		if err := unix.Truncate(f.path, int64(size)); err != nil {
			return fmt.Errorf("truncate: %w", err)
		}
	case 1:
		w.note("open with O_TRUNC")
		fd, err := unix.Open(f.path, unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open with O_TRUNC: %w", err)
		}
		unix.Close(fd)
		size = 0
	default:
		w.note("ftruncate to %d", size)
		if err := unix.Ftruncate(f.fds[plain], int64(size)); err != nil {
			return fmt.Errorf("ftruncate: %w", err)
		}
	}
	f.resize(size, w.n)
	return nil
}

func (w *worker) fallocate(f *file) error {
	off, length := w.place(w.c.size)
	mode := []uint32{
		0, unix.FALLOC_FL_KEEP_SIZE,
		unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
		unix.FALLOC_FL_ZERO_RANGE, unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE,
	}[w.rng.Intn(6)]
	w.note("fallocate with mode %#x: %d bytes at %d", mode, length, off)
	err := unix.Fallocate(f.fds[plain], mode, int64(off), int64(length))
	if err == syscall.EOPNOTSUPP {
		return nil // tmpfs has no ZERO_RANGE
	}
	if err != nil {
		return fmt.Errorf("fallocate: %w", err)
	}
	end := off + length
	if mode&unix.FALLOC_FL_KEEP_SIZE != 0 {
		end = min(end, len(f.want))
	} else if end > len(f.want) {
		f.resize(end, w.n)
	}
	if mode&^unix.FALLOC_FL_KEEP_SIZE != 0 && off < end {
		f.put(make([]byte, end-off), off, w.n)
	}
	return nil
}

// copy copies within a file or from one to the other.
func (w *worker) copy(to *file) error {
	from := w.files[w.rng.Intn(2)]
	if len(from.want) == 0 {
		return nil
	}
	offIn, length := w.place(len(from.want))
	offOut := w.rng.Intn(w.c.size)
	if w.rng.Intn(2) == 0 {
		offOut &^= 4095 // blocks can be shared
	}
	length = min(length, w.c.size-offOut)
	if from == to && offIn < offOut+length && offOut < offIn+length {
		return nil // EINVAL
	}
	w.note("copy_file_range from %s: %d bytes at %d to %d", from.path, length, offIn, offOut)
	for done := 0; done < length; {
		in, out := int64(offIn+done), int64(offOut+done)
		n, err := unix.CopyFileRange(from.fds[plain], &in, to.fds[plain], &out, length-done, 0)
		if err != nil || n == 0 {
			return fmt.Errorf("copy_file_range: %d of %d, %w", done, length, err)
		}
		done += n
	}
	to.put(append([]byte(nil), from.want[offIn:offIn+length]...), offOut, w.n)
	return nil
}

func (w *worker) sync(f *file) error {
	switch w.rng.Intn(4) {
	case 0:
		w.note("fsync")
		return unix.Fsync(f.fds[plain])
	case 1:
		w.note("fdatasync of the appender")
		return unix.Fdatasync(f.fds[appendTo])
	case 2:
		w.note("msync")
		return unix.Msync(f.mapped, unix.MS_SYNC)
	}
	w.note("sync_file_range")
	return unix.SyncFileRange(f.fds[plain], 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}

func (w *worker) rename(f *file) error {
	path := f.path + "'"
	if strings.HasSuffix(f.path, "'") {
		path = strings.TrimSuffix(f.path, "'")
	}
	w.note("rename to %s", path)
	if err := unix.Rename(f.path, path); err != nil {
		return err
	}
	f.path = path
	return nil
}

func (w *worker) reopen(f *file) error {
	w.note("close and open again")
	if err := f.close(); err != nil {
		return err
	}
	return f.open(w.c, 0)
}

// drop makes the kernel give cached pages back, as it does when memory is short.
func (w *worker) drop(f *file) error {
	w.note("drop the cache")
	return unix.Fadvise(f.fds[plain], 0, 0, unix.FADV_DONTNEED)
}

// compare looks at all of the file, here and in the source.
func (w *worker) compare(f *file) error {
	w.note("compare all")
	if err := f.whole(f.path); err != nil {
		return err
	}
	other := w.c.inSource(f.path)
	if other == "" {
		return nil
	}
	if err := unix.Fsync(f.fds[plain]); err != nil {
		return err
	}
	return f.whole(other)
}
