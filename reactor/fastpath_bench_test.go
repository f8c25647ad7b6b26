package reactor

import (
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	sys "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// bareRing is the least that a read through a ring can cost: one goroutine
// locked to its thread, one entry at a time, no bookkeeping.
type bareRing struct {
	*ring
	fd  int
	p   []byte
	raw bool // enters without telling Go's scheduler
	opt func(e *sqe)
}

func newBareRing(b *testing.B, fd int, flags uint32, set func(*bareRing)) *bareRing {
	q, err := newRing(ringConfig{entries: 64, completions: 1024, flags: flags})
	if err != nil {
		b.Skip(err)
	}
	b.Cleanup(func() { q.close() })
	r := &bareRing{ring: q, fd: fd, p: alignedBytes(4096), opt: func(*sqe) {}}
	if set != nil {
		set(r)
	}
	return r
}

func (r *bareRing) read(off int64) (int, error) {
	e := r.next()
	e.PrepOperation(uint8(OpRead), int32(r.fd), uint64(uintptr(unsafe.Pointer(&r.p[0]))), uint32(len(r.p)), uint64(off))
	r.opt(e)
	if r.raw {
		*r.sq.tail = r.sq.localTail
		if n, _, errno := syscall.RawSyscall6(sys.SYS_IO_URING_ENTER, uintptr(r.enterFD), 1, 0, uintptr(r.enterFlags), 0, 0); n != 1 {
			return int(n), errno
		}
	} else if n, errno := r.enter(0, 0); n != 1 {
		return n, errno
	}
	c, ok := r.peek()
	for !ok {
		if _, errno := r.enter(1, 0); errno != 0 {
			return 0, errno
		}
		c, ok = r.peek()
	}
	if c.res < 0 {
		return 0, syscall.Errno(-c.res)
	}
	return int(c.res), nil
}

// fixedFile makes the ring know its file by index.
func (r *bareRing) fixedFile(b *testing.B) {
	if err := r.registerFiles([]int32{int32(r.fd)}); err != nil {
		b.Fatal(err)
	}
	r.fd = 0
	opt := r.opt
	r.opt = func(e *sqe) { opt(e); e.SetFlags(sys.IOSQE_FLAGS_FIXED_FILE) }
}

// fixedBuffer makes the ring know its buffer by index.
func (r *bareRing) fixedBuffer(b *testing.B) {
	iov := unix.Iovec{Base: &r.p[0], Len: uint64(len(r.p))}
	if err := sys.IOURingRegister(r.ring.fd, sys.IORING_REGISTER_BUFFERS, unsafe.Pointer(&iov), 1); err != nil {
		b.Fatal(err)
	}
	opt := r.opt
	r.opt = func(e *sqe) { opt(e); (*sqeFields)(unsafe.Pointer(e)).opcode = sys.IORING_OP_READ_FIXED }
}

func (r *bareRing) registeredFD(b *testing.B) {
	if err := r.registerRing(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkFastPaths says what each feature of a ring is worth for a cached
// read of 4 KiB. Those that gain something and are not in the product are in
// docs/PERFORMANCE.md with the reason.
func BenchmarkFastPaths(b *testing.B) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const size = 1 << 20
	fd := benchFile(b, benchDir(b), size)
	p := make([]byte, 4096)
	subjects := []subject{
		{"pread", readLoop(b, size, 4096, func(off int64) (int, error) { return syscall.Pread(fd, p, off) })},
	}
	add := func(name string, flags uint32, set func(*bareRing)) {
		subjects = append(subjects, subject{name, readLoop(b, size, 4096, newBareRing(b, fd, flags, set).read)})
	}
	const coop = sys.IORING_SETUP_COOP_TASKRUN
	add("ring", 0, nil)
	add("coop", coop, nil)
	add("coop+fixedfile", coop, func(r *bareRing) { r.fixedFile(b) })
	add("coop+fixedbuf", coop, func(r *bareRing) { r.fixedBuffer(b) })
	add("coop+ringfd", coop, func(r *bareRing) { r.registeredFD(b) })
	add("coop+nosqarray", coop|setupNoSQArray, nil)
	add("coop+raw", coop, func(r *bareRing) { r.raw = true })
	add("defer", setupSingleIssuer|setupDeferTaskrun, nil)
	add("all", setupSingleIssuer|setupDeferTaskrun|setupNoSQArray, func(r *bareRing) {
		r.fixedFile(b)
		r.fixedBuffer(b)
		r.registeredFD(b)
	})
	compare(b, 100, subjects...)
}
