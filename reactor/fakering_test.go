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

// faults says how often out of 1000 a fake ring does what.
type faults struct {
	enterError int // enter fails: EINTR, EAGAIN, EBUSY
	enterShort int // enter takes only some of the entries
	late       int // the completion comes later, in any order
	short      int // a transfer moves only some of the bytes
	again      int // the completion is EINTR, EAGAIN or ECANCELED for no reason
	fail       int // the completion is EIO
	spurious   int // a completion that belongs to nothing comes along
	deaf       int // a cancel has no effect
	fatal      int // enter fails for good: EBADF
}

// fakeRing is a queue that behaves as badly as a kernel may, driven by a seed.
// Its files are byte slices, named by descriptors.
type fakeRing struct {
	t      testing.TB
	efd    int
	faults faults
	files  map[int32]*fakeFile

	mu       sync.Mutex
	rng      *rand.Rand
	taken    []*sqe
	pending  []sqeFields // with the "kernel"
	cq       []completion
	overflow []completion
	cqSize   int
	notifies bool
	past     []uint64 // user data of completed operations
	dead     bool
	refusals []syscall.Errno // what enter fails with next
	closed   bool
	worker   sync.WaitGroup
}

type fakeFile struct {
	mu   sync.Mutex
	data []byte
}

var _ queue = (*fakeRing)(nil)

func newFakeRing(t testing.TB, seed uint64, f faults, files map[int32]*fakeFile) *fakeRing {
	r := &fakeRing{t: t, efd: -1, faults: f, files: files, rng: rand.New(rand.NewPCG(seed, 7)), cqSize: 8}
	// Ends when the ring is closed; close awaits it.
	r.worker.Go(r.complete)
	return r
}

func (r *fakeRing) registerEventfd(efd int) error { r.efd = efd; return nil }

func (r *fakeRing) registerFiles([]int32) error { return nil }

func (r *fakeRing) enable(ringConfig) error { return nil }

// chance is true n times of 1000. The caller holds mu.
func (r *fakeRing) chance(n int) bool { return r.rng.IntN(1000) < n }

func (r *fakeRing) next() *sqe {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.taken) == 16 {
		return nil
	}
	e := new(sqe)
	r.taken = append(r.taken, e)
	return e
}

func (r *fakeRing) command(*sqe) *[80]byte { panic("fake ring has no commands") }

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

func (r *fakeRing) enter(wait uint32, _ time.Duration) (int, syscall.Errno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.dead || r.chance(r.faults.fatal):
		r.dead = true
		return 0, syscall.EBADF
	case len(r.refusals) > 0 && len(r.taken) > 0:
		errno := r.refusals[0]
		r.refusals = r.refusals[1:]
		return 0, errno
	case r.chance(r.faults.enterError):
		return 0, []syscall.Errno{syscall.EINTR, syscall.EAGAIN, syscall.EBUSY}[r.rng.IntN(3)]
	}
	n := len(r.taken)
	if n > 0 && r.chance(r.faults.enterShort) {
		n = r.rng.IntN(n)
	}
	for _, e := range r.taken[:n] {
		r.accept(*(*sqeFields)(unsafe.Pointer(e)))
	}
	r.taken = slices.Clone(r.taken[n:])
	return n, 0
}

// accept takes an entry over, as the kernel does inside enter. The caller holds mu.
func (r *fakeRing) accept(e sqeFields) {
	if e.opcode == unix_IORING_OP_ASYNC_CANCEL {
		r.post(completion{userData: e.userData})
		if r.chance(r.faults.deaf) {
			return
		}
		for i, p := range r.pending {
			if p.userData == e.addr {
				r.pending = slices.Delete(r.pending, i, i+1)
				res := -int32(syscall.ECANCELED)
				if r.chance(500) {
					res = -int32(syscall.EINTR)
				}
				r.post(completion{userData: p.userData, res: res})
				return
			}
		}
		return
	}
	if r.chance(r.faults.late) {
		r.pending = append(r.pending, e)
		return
	}
	r.post(completion{userData: e.userData, res: r.perform(e)})
}

const unix_IORING_OP_ASYNC_CANCEL = 14

// perform moves the bytes of e and returns its result. The caller holds mu.
func (r *fakeRing) perform(e sqeFields) int32 {
	switch {
	case r.chance(r.faults.again):
		return -int32([]syscall.Errno{syscall.EINTR, syscall.EAGAIN, syscall.ECANCELED}[r.rng.IntN(3)])
	case r.chance(r.faults.fail):
		return -int32(syscall.EIO)
	}
	f := r.files[e.fd]
	if f == nil {
		return -int32(syscall.EBADF)
	}
	code := Opcode(e.opcode)
	if code != OpRead && code != OpWrite {
		return 0
	}
	n := int(e.length)
	if n > 1 && r.chance(r.faults.short) {
		n = 1 + r.rng.IntN(n-1)
	}
	p := unsafe.Slice(*(**byte)(unsafe.Pointer(&e.addr)), e.length)[:n] // a live slice's, kept by its slot
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.data[min(int(e.off), len(f.data)):]
	if code == OpRead {
		return int32(copy(p, at))
	}
	return int32(copy(at, p))
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
	if r.notifies {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		unix.Write(r.efd, one[:])
	}
}

func (r *fakeRing) push(c completion) {
	if len(r.cq) >= r.cqSize {
		r.overflow = append(r.overflow, c)
		return
	}
	r.cq = append(r.cq, c)
}

// complete ends what is late, in any order.
func (r *fakeRing) complete() {
	for {
		r.mu.Lock()
		if len(r.pending) == 0 && r.closed {
			r.mu.Unlock()
			return
		}
		for len(r.pending) > 0 && r.chance(700) {
			i := r.rng.IntN(len(r.pending))
			e := r.pending[i]
			r.pending = slices.Delete(r.pending, i, i+1)
			r.post(completion{userData: e.userData, res: r.perform(e)})
		}
		r.mu.Unlock()
		runtime.Gosched()
	}
}

func (r *fakeRing) flush() syscall.Errno {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.overflow), r.cqSize-len(r.cq))
	r.cq = append(r.cq, r.overflow[:n]...)
	r.overflow = r.overflow[n:]
	return 0
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

func (r *fakeRing) close() error {
	r.mu.Lock()
	r.closed = true
	if n := len(r.pending); n > 0 {
		r.t.Errorf("ring closed with %d operations in flight", n)
	}
	r.mu.Unlock()
	r.worker.Wait()
	return nil
}
