package reactor

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	sys "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// ringConfig says how to set a ring up.
type ringConfig struct {
	entries     uint32 // submission queue; a power of two
	completions uint32 // completion queue; a power of two, at least entries
	flags       uint32 // IORING_SETUP_*; those an older kernel lacks are dropped if in optional
	optional    uint32 // subset of flags that may be dropped on EINVAL
	workers     workerBounds
	bigEntries  bool // 128-byte submission entries

	// thread: one locked thread, which makes the ring, alone enters it.
	thread bool

	// keep: that thread keeps its place in Go's scheduler while it is in enter,
	// as long as there is something to do; see ExecutorConfig.KeepProcessor.
	keep bool

	// lockdown makes the ring a disabled one that enable restricts to these
	// opcodes and starts. nil: it takes everything at once.
	lockdown []Opcode

	// newQueue replaces newRing in tests, if not nil.
	newQueue func(ringConfig) (queue, error)
}

// open makes a queue, to be enabled. Its errors are *SetupError.
func (cfg ringConfig) open() (queue, error) {
	if cfg.newQueue != nil {
		return cfg.newQueue(cfg)
	}
	r, err := newRing(cfg)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// ring is one io_uring instance, mapped into memory. See [queue] for what may
// be called concurrently.
type ring struct {
	fd    int
	flags uint32 // IORING_SETUP_* in force

	// enterFD and enterFlags replace fd in enter once the ring is registered
	// with its thread.
	enterFD    int
	enterFlags uint32
	enters     uint64 // calls of enter, for tests and statistics of one thread
	keep       bool   // see ringConfig
	untold     bool   // Go's scheduler is not told of the next enter

	user uint16 // see registerUser

	sq struct {
		head, tail, flags *uint32
		mask, entries     uint32
		localTail         uint32 // entries below it are filled, those below *tail published
		stride            uintptr
		entriesBase       unsafe.Pointer
	}
	cq struct {
		head, tail, flags *uint32
		mask              uint32
		base              unsafe.Pointer
	}

	ringMem, entryMem []byte
}

var _ queue = (*ring)(nil)

// newRing makes a ring. Its errors are *SetupError.
func newRing(cfg ringConfig) (*ring, error) {
	params := sys.IOURingParams{
		Flags:     cfg.flags | sys.IORING_SETUP_CQSIZE | sys.IORING_SETUP_SUBMIT_ALL,
		CQEntries: cfg.completions,
	}
	optional := cfg.optional | sys.IORING_SETUP_SUBMIT_ALL
	if cfg.bigEntries {
		params.Flags |= sys.IORING_SETUP_SQE128
	}
	if cfg.lockdown != nil {
		params.Flags |= sys.IORING_SETUP_R_DISABLED
	}
	fd, err := sys.IOURingSetup(uint(cfg.entries), &params)
	for errors.Is(err, syscall.EINVAL) && params.Flags&optional != 0 {
		// An older kernel refuses flags it does not know: drop the newest
		// (highest) of those we can do without.
		drop := params.Flags & optional
		for drop&(drop-1) != 0 {
			drop &= drop - 1
		}
		flags := params.Flags &^ drop
		params = sys.IOURingParams{Flags: flags, CQEntries: cfg.completions}
		fd, err = sys.IOURingSetup(uint(cfg.entries), &params)
	}
	if err != nil {
		return nil, newSetupError("io_uring_setup", err)
	}
	unix.CloseOnExec(fd)
	r := &ring{fd: fd, enterFD: fd, flags: params.Flags, keep: cfg.keep}
	if err := r.mmap(&params); err != nil {
		unix.Close(fd)
		return nil, newSetupError("mmap of the ring", err)
	}
	if params.Features&featNoDrop == 0 || params.Features&featExtArg == 0 {
		r.close()
		return nil, newSetupError("io_uring_setup", syscall.ENOSYS)
	}
	if err := r.limitWorkers(cfg.workers); err != nil {
		r.close()
		return nil, err
	}
	r.user = r.registerUser()
	if cfg.thread {
		_ = r.registerRing() // a gain of some ns since 5.18, nothing hangs on it
	}
	return r, nil
}

// mmap maps the rings and finds their fields. Kernels with FEAT_NODROP have
// FEAT_SINGLE_MMAP too (5.4), so both queues share one mapping.
func (r *ring) mmap(p *sys.IOURingParams) error {
	const cqeSize = unsafe.Sizeof(sys.CompletionQueueEvent16{})
	r.sq.stride = unsafe.Sizeof(sqe{})
	if p.Flags&sys.IORING_SETUP_SQE128 != 0 {
		r.sq.stride = unsafe.Sizeof(sys.SubmissionQueueEntry128{})
	}
	size := max(uintptr(p.SQOffset.Array)+uintptr(p.SQEntries)*4, uintptr(p.CQOffset.Cqes)+uintptr(p.CQEntries)*cqeSize)
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_POPULATE
	var err error
	if r.ringMem, err = unix.Mmap(r.fd, int64(sys.IORING_OFF_SQ_RING), int(size), prot, flags); err != nil {
		return err
	}
	if r.entryMem, err = unix.Mmap(r.fd, int64(sys.IORING_OFF_SQES), int(uintptr(p.SQEntries)*r.sq.stride), prot, flags); err != nil {
		unix.Munmap(r.ringMem)
		return err
	}
	base := unsafe.Pointer(&r.ringMem[0])
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Add(base, off)) }
	r.sq.head, r.sq.tail, r.sq.flags = at(p.SQOffset.Head), at(p.SQOffset.Tail), at(p.SQOffset.Flags)
	r.sq.mask, r.sq.entries = *at(p.SQOffset.RingMask), p.SQEntries
	r.sq.entriesBase = unsafe.Pointer(&r.entryMem[0])
	r.sq.localTail = *r.sq.tail
	if p.Flags&setupNoSQArray == 0 {
		for i := range p.SQEntries { // entry i always stands in place i
			*at(p.SQOffset.Array + 4*i) = i
		}
	}
	r.cq.head, r.cq.tail, r.cq.flags = at(p.CQOffset.Head), at(p.CQOffset.Tail), at(p.CQOffset.Flags)
	r.cq.mask = *at(p.CQOffset.RingMask)
	r.cq.base = unsafe.Add(base, p.CQOffset.Cqes)
	return nil
}

func (r *ring) next() *sqe {
	if r.queued() == r.sq.entries {
		return nil
	}
	e := (*sqe)(unsafe.Add(r.sq.entriesBase, uintptr(r.sq.localTail&r.sq.mask)*r.sq.stride))
	if r.sq.stride == unsafe.Sizeof(sys.SubmissionQueueEntry128{}) {
		(*sys.SubmissionQueueEntry128)(unsafe.Pointer(e)).Reset()
	} else {
		e.Reset()
	}
	r.sq.localTail++
	return e
}

func (r *ring) command(e *sqe) *[80]byte {
	if r.flags&sys.IORING_SETUP_SQE128 == 0 {
		panic("reactor: command area on a ring of 64-byte entries")
	}
	return (*[80]byte)(unsafe.Add(unsafe.Pointer(e), 48))
}

func (r *ring) queued() uint32 { return r.sq.localTail - atomic.LoadUint32(r.sq.head) }

// getEventsArg is struct io_uring_getevents_arg.
type getEventsArg struct {
	sigmask   uint64
	sigmaskSz uint32
	minWait   uint32
	ts        uint64
}

func (r *ring) enter(wait uint32, timeout time.Duration) (int, syscall.Errno) {
	r.enters++
	*r.sq.tail = r.sq.localTail // read inside the system call, by this thread
	flags := r.enterFlags
	if wait > 0 || r.flags&setupDeferTaskrun != 0 || r.needsFlush() {
		flags |= sys.IORING_ENTER_FLAGS_GETEVENTS
	}
	call := syscall.Syscall6
	if r.untold {
		call = syscall.RawSyscall6
	}
	var n uintptr
	var errno syscall.Errno
	if timeout <= 0 {
		n, _, errno = call(sys.SYS_IO_URING_ENTER, uintptr(r.enterFD), uintptr(r.queued()), uintptr(wait), uintptr(flags), 0, 0)
	} else {
		ts := unix.NsecToTimespec(int64(timeout))
		arg := getEventsArg{ts: uint64(uintptr(unsafe.Pointer(&ts)))}
		n, _, errno = call(sys.SYS_IO_URING_ENTER, uintptr(r.enterFD), uintptr(r.queued()), uintptr(wait), uintptr(flags|enterExtArg),
			uintptr(unsafe.Pointer(&arg)), unsafe.Sizeof(arg))
		keepAlive(&ts)
		keepAlive(&arg)
	}
	if r.keep && wait > 0 {
		r.untold = errno == 0 // else Go wants the thread, or it is idle
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

func (r *ring) flush() syscall.Errno {
	_, _, errno := syscall.Syscall6(sys.SYS_IO_URING_ENTER, uintptr(r.enterFD), 0, 0, uintptr(r.enterFlags|sys.IORING_ENTER_FLAGS_GETEVENTS), 0, 0)
	return errno
}

func (r *ring) discard() {
	r.sq.localTail = atomic.LoadUint32(r.sq.head)
	atomic.StoreUint32(r.sq.tail, r.sq.localTail)
}

func (r *ring) peek() (completion, bool) {
	head := *r.cq.head // only we write it
	if head == atomic.LoadUint32(r.cq.tail) {
		return completion{}, false
	}
	e := (*sys.CompletionQueueEvent16)(unsafe.Add(r.cq.base, uintptr(head&r.cq.mask)*unsafe.Sizeof(sys.CompletionQueueEvent16{})))
	c := completion{userData: e.UserData(), res: e.Result(), flags: e.Flags()}
	atomic.StoreUint32(r.cq.head, head+1)
	return c, true
}

func (r *ring) needsFlush() bool {
	return atomic.LoadUint32(r.sq.flags)&(sqFlagCQOverflow|sqFlagTaskrun) != 0
}

func (r *ring) notify(on bool) {
	if on {
		atomic.StoreUint32(r.cq.flags, 0)
	} else {
		atomic.StoreUint32(r.cq.flags, cqFlagEventfdDisabled)
	}
}

// close gives the ring back to the kernel. Whatever is still in flight would
// go on in buffers nobody owns, so the caller has awaited every CQE.
func (r *ring) close() error {
	return errors.Join(unix.Munmap(r.entryMem), unix.Munmap(r.ringMem), unix.Close(r.fd))
}

func (r *ring) registerEventfd(efd int) error {
	fd := int32(efd)
	if err := sys.IOURingRegister(r.fd, sys.IORING_REGISTER_EVENTFD, unsafe.Pointer(&fd), 1); err != nil {
		return newSetupError("register eventfd", err)
	}
	return nil
}

// workerBounds bounds the io-wq kernel threads of each thread that submits, of
// the kernel's two kinds each: bounded ones do what ends for certain (regular
// files, block devices, fsync, open), unbounded ones the rest, and all reads and
// writes with IOSQE_ASYNC (io_prep_async_work).
type workerBounds struct{ bounded, unbounded int }

// limitWorkers puts bounds into force. Kernels before 5.15 cannot: there the
// bound is RLIMIT_NPROC.
func (r *ring) limitWorkers(bounds workerBounds) error {
	limits := [2]uint32{uint32(bounds.bounded), uint32(bounds.unbounded)}
	err := sys.IOURingRegister(r.fd, registerIOWQMaxWorkers, unsafe.Pointer(&limits), 2)
	if err != nil && !errors.Is(err, syscall.EINVAL) {
		return newSetupError("limit io-wq workers", err)
	}
	return nil
}

func (r *ring) registerFiles(fds []int32) error {
	if err := sys.IOURingRegister(r.fd, sys.IORING_REGISTER_FILES, unsafe.Pointer(&fds[0]), uint32(len(fds))); err != nil {
		return fmt.Errorf("register files: %w", err)
	}
	return nil
}

// ringFDUpdate is struct io_uring_rsrc_update.
type ringFDUpdate struct {
	offset uint32
	resv   uint32
	data   uint64
}

// registerRing spares enter the look-up of the ring's descriptor. It counts for
// the calling thread only, which must be locked and the only one to enter.
func (r *ring) registerRing() error {
	up := ringFDUpdate{offset: ^uint32(0), data: uint64(r.fd)}
	n, _, errno := syscall.Syscall6(sys.SYS_IO_URING_REGISTER, uintptr(r.fd), uintptr(registerRingFDs), uintptr(unsafe.Pointer(&up)), 1, 0, 0)
	if errno != 0 || n != 1 {
		return fmt.Errorf("register ring descriptor: %w", errno)
	}
	r.enterFD, r.enterFlags = int(up.offset), enterRegisteredRing
	return nil
}
