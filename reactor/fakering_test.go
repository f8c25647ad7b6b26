package reactor

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	sys "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// sqeFields is how the kernel sees an sqe.
type sqeFields struct {
	opcode, flags  uint8
	ioprio         uint16
	fd             int32
	off, addr      uint64
	length, opFlag uint32
	userData       uint64
	_              [3]uint64
}

// fakeEntry is a 128-byte submission queue entry.
type fakeEntry struct {
	sqeFields
	_ [8]uint64
}

// area is where the kernel finds what belongs to a command.
func (e *fakeEntry) area() *[80]byte { return (*[80]byte)(unsafe.Add(unsafe.Pointer(e), 48)) }

// faults says how often out of 1000 a fake ring does what.
type faults struct {
	enterError int // enter fails: EINTR, EAGAIN, EBUSY, ENOMEM
	enterShort int // enter takes only some of the entries
	early      int // a wait in enter ends before its time: EINTR, ETIME
	late       int // the completion comes later, in any order
	short      int // a transfer moves only some of the bytes
	again      int // the completion is EINTR, EAGAIN or ECANCELED for no reason
	fail       int // the completion is EIO
	spurious   int // a completion that belongs to nothing comes along, or one again
	deaf       int // a cancel has no effect
	fatal      int // enter fails for good: EBADF
}

// fakeRing is a queue that behaves as badly as a kernel may, driven by a seed.
// Its files are byte slices, named by descriptors; any other descriptor that is
// read is a real one.
type fakeRing struct {
	t      testing.TB
	efd    int
	faults faults
	files  map[int32]*fakeFile

	// device carries the commands out. It is called with mu held.
	device func(area *[80]byte) int32
	holds  bool // keeps commands
	held   []*request

	mu       sync.Mutex
	changed  sync.Cond // pending, cq, overflow or closed
	rng      *rand.Rand
	taken    []*fakeEntry
	pending  []*request // with the "kernel"
	reads    []int32    // real descriptors that are being read
	cq       []completion
	overflow []completion
	cqSize   int
	notifies bool
	past     []uint64        // user data of completed operations
	dead     syscall.Errno   // what every enter fails with
	refusals []syscall.Errno // what enter fails with next
	closed   bool
	workers  sync.WaitGroup
}

// request is an entry that the "kernel" has taken.
type request struct {
	fakeEntry
	link *request // to be started when this one has done all that it should
	done bool     // what is late is only to be told of
	res  int32
}

type fakeFile struct {
	mu   sync.Mutex
	data []byte
}

var _ queue = (*fakeRing)(nil)

func newFakeRing(t testing.TB, seed uint64, f faults, files map[int32]*fakeFile) *fakeRing {
	r := &fakeRing{t: t, efd: -1, faults: f, files: files, rng: rand.New(rand.NewPCG(seed, 7)), cqSize: 8}
	if f.fatal > 0 {
		r.cqSize = 1 << 16 // what has overflowed on a ring that cannot be entered is lost
	}
	r.changed.L = &r.mu
	// Ends when the ring is closed; close awaits it.
	r.workers.Go(r.complete)
	return r
}

func (r *fakeRing) registerEventfd(efd int) error { r.efd = efd; return nil }

func (r *fakeRing) registerFiles([]int32) error { return nil }

func (r *fakeRing) enable(ringConfig) error { return nil }

// chance is true n times of 1000. The caller holds mu.
func (r *fakeRing) chance(n int) bool { return r.rng.IntN(1000) < n }

// one is any of errnos. The caller holds mu.
func (r *fakeRing) one(errnos ...syscall.Errno) syscall.Errno {
	return errnos[r.rng.IntN(len(errnos))]
}

func (r *fakeRing) next() *sqe {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.taken) == 16 {
		return nil
	}
	e := new(fakeEntry)
	r.taken = append(r.taken, e)
	return (*sqe)(unsafe.Pointer(e))
}

func (r *fakeRing) command(e *sqe) *[80]byte { return (*fakeEntry)(unsafe.Pointer(e)).area() }

func (r *fakeRing) queued() uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint32(len(r.taken))
}

func (r *fakeRing) discard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = nil
}

// refuse has the next calls of enter fail.
func (r *fakeRing) refuse(errnos ...syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusals = errnos
}

func (r *fakeRing) enter(wait uint32, timeout time.Duration) (int, syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.chance(r.faults.fatal) {
		r.dead = syscall.EBADF
	}
	switch {
	case r.dead != 0:
		return 0, r.dead
	case len(r.refusals) > 0:
		errno := r.refusals[0]
		r.refusals = r.refusals[1:]
		if !passing[errno] {
			r.dead = errno
		}
		return 0, errno
	case r.chance(r.faults.enterError):
		return 0, r.one(syscall.EINTR, syscall.EAGAIN, syscall.EBUSY, syscall.ENOMEM)
	}
	n := len(r.taken)
	if n > 0 && r.chance(r.faults.enterShort) {
		n = r.rng.IntN(n)
	}
	r.accept(r.taken[:n])
	short := n < len(r.taken)
	r.taken = slices.Clone(r.taken[n:])
	r.moveIn()
	if wait == 0 || short {
		return n, 0
	}
	errno := r.await(int(wait), timeout)
	if n > 0 { // that a wait was cut short is only told when there was no more to tell
		return n, 0
	}
	return 0, errno
}

// await waits for completions, as the kernel does inside enter. The caller holds mu.
func (r *fakeRing) await(n int, timeout time.Duration) (errno syscall.Errno) {
	if r.chance(r.faults.early) {
		return r.one(syscall.EINTR, syscall.ETIME)
	}
	over := false
	if timeout > 0 {
		timer := time.AfterFunc(timeout, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			over = true
			r.changed.Broadcast()
		})
		defer timer.Stop()
	}
	for r.moveIn(); len(r.cq) < n; r.moveIn() {
		if over {
			return syscall.ETIME
		}
		r.changed.Wait()
	}
	return 0
}

// accept takes entries over, as the kernel does inside enter. The caller holds mu.
func (r *fakeRing) accept(entries []*fakeEntry) {
	for i := 0; i < len(entries); i++ {
		head := &request{fakeEntry: *entries[i]}
		for last := head; last.flags&sys.IOSQE_FLAGS_IO_LINK != 0 && i+1 < len(entries); i++ {
			last.link = &request{fakeEntry: *entries[i+1]}
			last = last.link
		}
		r.start(head)
	}
}

// start begins with a request. The caller holds mu.
func (r *fakeRing) start(q *request) {
	_, known := r.files[q.fd]
	switch {
	case q.opcode == sys.IORING_OP_ASYNC_CANCEL:
		r.post(completion{userData: q.userData})
		if !r.chance(r.faults.deaf) {
			r.cancel(q.addr)
		}
	case q.opcode == sys.IORING_OP_READ && !known:
		r.readReal(q)
	case q.opcode == sys.IORING_OP_URING_CMD && r.holds:
		r.held = append(r.held, q)
	case q.opFlag&unix.RWF_NOWAIT == 0 && r.chance(r.faults.late):
		r.pending = append(r.pending, q)
		r.changed.Broadcast()
	default:
		r.finish(q, r.perform(q))
	}
}

// hold has commands wait until it is called with false.
func (r *fakeRing) hold(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds = on
	for _, q := range r.held {
		r.finish(q, r.perform(q))
	}
	r.held = nil
}

// cancel ends what is late. The caller holds mu.
func (r *fakeRing) cancel(userData uint64) {
	for i, p := range r.pending {
		if p.userData == userData && !p.done {
			r.pending = slices.Delete(r.pending, i, i+1)
			r.finish(p, -int32(r.one(syscall.ECANCELED, syscall.EINTR)))
			return
		}
	}
}

// readReal reads a real descriptor, or pretends that there was something to read,
// or a signal. The caller holds mu.
func (r *fakeRing) readReal(q *request) {
	if r.chance(r.faults.again) {
		q.res, q.done = -int32(r.one(syscall.EINTR, syscall.ECANCELED)), true
		if r.chance(500) {
			q.res = int32(q.length)
		}
		r.pending = append(r.pending, q)
		r.changed.Broadcast()
		return
	}
	r.reads = append(r.reads, q.fd)
	r.workers.Go(func() { // ends when it has read; close sees to that
		n, err := unix.Read(int(q.fd), unsafe.Slice(*(**byte)(unsafe.Pointer(&q.addr)), q.length))
		r.mu.Lock()
		defer r.mu.Unlock()
		at := slices.Index(r.reads, q.fd)
		r.reads = slices.Delete(r.reads, at, at+1)
		if q.res, q.done = int32(n), true; err != nil {
			q.res = -int32(err.(syscall.Errno))
		}
		if r.closed || r.dead != 0 { // nobody can be told (DEFER_TASKRUN)
			return
		}
		if r.chance(r.faults.late) {
			r.pending = append(r.pending, q)
			r.changed.Broadcast()
		} else {
			r.finish(q, q.res)
		}
	})
}

// finish tells of the result of a request, and starts what is linked to it if it
// did all that it should. The caller holds mu.
func (r *fakeRing) finish(q *request, res int32) {
	told := completion{userData: q.userData, res: res}
	switch {
	case q.link == nil:
		r.post(told)
	case res >= 0 && int(res) == q.size():
		r.post(told)
		r.start(q.link)
	default:
		dropped := completion{userData: q.link.userData, res: -int32(syscall.ECANCELED)}
		if r.chance(500) {
			told, dropped = dropped, told
		}
		r.post(told)
		r.post(dropped)
	}
}

// buffers is the memory of a transfer: a live slot keeps it.
func (q *request) buffers() [][]byte {
	if code := Opcode(q.opcode); code == OpRead || code == OpWrite {
		return [][]byte{unsafe.Slice(*(**byte)(unsafe.Pointer(&q.addr)), q.length)}
	}
	var bufs [][]byte
	for _, v := range unsafe.Slice(*(**unix.Iovec)(unsafe.Pointer(&q.addr)), q.length) {
		bufs = append(bufs, unsafe.Slice(v.Base, v.Len))
	}
	return bufs
}

// size is how many bytes a transfer moves.
func (q *request) size() (n int) {
	for _, b := range q.buffers() {
		n += len(b)
	}
	return n
}

// perform does what a request asks for and returns its result. The caller holds mu.
func (r *fakeRing) perform(q *request) int32 {
	code := Opcode(q.opcode)
	switch {
	case q.opcode == sys.IORING_OP_URING_CMD:
		return r.device(q.area())
	case code == OpNop:
		return 0
	case r.chance(r.faults.again):
		return -int32(r.one(syscall.EINTR, syscall.EAGAIN, syscall.ECANCELED))
	case r.chance(r.faults.fail):
		return -int32(syscall.EIO)
	}
	f := r.files[q.fd]
	switch {
	case f == nil:
		return -int32(syscall.EBADF)
	case code != OpRead && code != OpWrite && code != OpReadv && code != OpWritev:
		return 0
	}
	left := q.size()
	if left > 1 && r.chance(r.faults.short) {
		left = 1 + r.rng.IntN(left-1)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.data[min(int(q.off), len(f.data)):]
	moved := 0
	for _, p := range q.buffers() {
		p = p[:min(len(p), left)]
		n := 0
		if code == OpRead || code == OpReadv {
			n = copy(p, at)
		} else {
			n = copy(at, p)
		}
		at, left, moved = at[n:], left-n, moved+n
	}
	return int32(moved)
}

// post puts a completion into the queue, and perhaps one of nobody's. The
// caller holds mu.
func (r *fakeRing) post(c completion) {
	if len(r.past) > 0 && r.chance(r.faults.spurious) {
		ghost := completion{userData: r.past[r.rng.IntN(len(r.past))], res: 1 << 20}
		if r.chance(300) {
			ghost.userData = r.rng.Uint64() | 1<<63
		}
		r.push(ghost)
	}
	r.push(c)
	if r.chance(r.faults.spurious) && c.userData != cancelTag {
		r.push(c)
	}
	if r.notifies {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		unix.Write(r.efd, one[:])
	}
	r.changed.Broadcast()
}

// push keeps the order, as the kernel does since links depend on it
// (io_cqe_cache_refill).
func (r *fakeRing) push(c completion) {
	if len(r.cq) >= r.cqSize || len(r.overflow) > 0 {
		r.overflow = append(r.overflow, c)
		return
	}
	r.cq = append(r.cq, c)
}

// complete ends what is late, in any order.
func (r *fakeRing) complete() {
	for {
		r.mu.Lock()
		for len(r.pending) == 0 && !r.closed {
			r.changed.Wait()
		}
		if len(r.pending) == 0 {
			r.mu.Unlock()
			return
		}
		for len(r.pending) > 0 && r.chance(700) {
			i := r.rng.IntN(len(r.pending))
			q := r.pending[i]
			r.pending = slices.Delete(r.pending, i, i+1)
			if !q.done {
				q.res = r.perform(q)
			}
			r.finish(q, q.res)
		}
		r.mu.Unlock()
		runtime.Gosched()
	}
}

func (r *fakeRing) flush() syscall.Errno {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead != 0 {
		return r.dead
	}
	r.moveIn()
	return 0
}

// moveIn finds room for what has overflowed. The caller holds mu.
func (r *fakeRing) moveIn() {
	n := min(len(r.overflow), r.cqSize-len(r.cq))
	r.cq = append(r.cq, r.overflow[:n]...)
	r.overflow = r.overflow[n:]
}

func (r *fakeRing) peek() (completion, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cq) == 0 {
		return completion{}, false
	}
	c := r.cq[0]
	r.cq = r.cq[1:]
	if c.userData < 1<<63 && len(r.past) < 1000 && c.userData != cancelTag {
		r.past = append(r.past, c.userData)
	}
	return c, true
}

func (r *fakeRing) needsFlush() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.overflow) > 0
}

func (r *fakeRing) notify(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notifies = on
}

// close finds nothing in flight but, on a ring that is dead, the read of a thread's
// eventfd, which cannot be got rid of in another way.
func (r *fakeRing) close() error {
	r.mu.Lock()
	r.closed = true
	for _, q := range r.pending {
		if r.dead == 0 || !q.done {
			r.t.Errorf("ring closed with operation %#x of opcode %d in flight", q.userData, q.opcode)
		}
	}
	for _, fd := range r.reads {
		if r.dead == 0 {
			r.t.Errorf("ring closed with a read of descriptor %d in flight", fd)
		}
		var one [8]byte
		one[0] = 1
		unix.Write(int(fd), one[:])
	}
	r.changed.Broadcast()
	r.mu.Unlock()
	r.workers.Wait()
	return nil
}
