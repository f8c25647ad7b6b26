package overuring

import (
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

// queue is the kernel's queue of one CPU. All of it lives on the thread of its
// executor but for what is atomic.
type queue struct {
	s        *Server
	id       uint16
	executor *reactor.Executor
	entries  []*entry
	left     int           // entries that the kernel has not given back for good
	lockers  int           // entries whose request waits for a lock
	refused  syscall.Errno // why it did not take an entry, 0 if it did
	done     chan struct{} // closed when left is 0
}

// entry holds one request at a time.
type entry struct {
	q       *queue
	header  header
	payload []byte
	iovs    *[2]unix.Iovec
	command *reactor.Command

	// Made once: serve, serveAgain, and the reply to a READ or WRITE that goes
	// to the kernel together with the transfer.
	started, again func(*reactor.Task)
	following      reactor.Following

	parts [3][]byte // of the request, for HandleRequest
	reply [2][]byte // head and payload
	head  [outHeaderSize]byte
	ioctl []byte // copy of an IOCTL's input, which lies where the output goes

	direct direct

	// unique is the request being served, 0 for none, and task who does.
	unique atomic.Uint64
	task   atomic.Pointer[reactor.Task]
}

// newQueue makes a queue with entries first to first+depth-1 of the arena.
func newQueue(s *Server, id int, executor *reactor.Executor, first, depth int) *queue {
	q := &queue{s: s, id: uint16(id), executor: executor, left: depth, done: make(chan struct{})}
	for i := range depth {
		e := &entry{q: q}
		e.header, e.payload, e.iovs = s.arena.entry(first + i)
		e.reply = [2][]byte{e.head[:], e.payload}
		e.started, e.again = e.serve, e.serveAgain
		q.entries = append(q.entries, e)
	}
	return q
}

// deviceFile is /dev/fuse among the registered files.
const deviceFile = 0

// register offers all entries to the kernel. It runs in a task of the executor.
func (q *queue) register() {
	for _, e := range q.entries {
		e.command = q.executor.NewCommand(e.completed)
		e.following = reactor.Following{
			Command: e.command, File: deviceFile, Op: cmdCommitAndFetch,
			Buf: e.payload, Fill: e.replyAhead, Overlay: writeOutSize, Dropped: e.dropped,
		}
		area := e.command.Submit(deviceFile, cmdRegister, uintptr(unsafe.Pointer(e.iovs)), 2)
		putCommand(area, 0, q.id)
	}
}

// completed gets the result of a command: the entry has a request, or it is the
// ring's end.
func (e *entry) completed(res int32) {
	if res >= 0 {
		e.spawn(e.started)
		return
	}
	if e.q.refused == 0 {
		e.q.refused = syscall.Errno(-res)
	}
	e.leave()
}

// dropped is told that the reply ahead was not sent, as the transfer did not end
// in full at once.
func (e *entry) dropped() { e.spawn(e.again) }

func (e *entry) spawn(serve func(*reactor.Task)) {
	if e.q.executor.Spawn(serve) != nil {
		e.leave()
	}
}

// leave counts the entry among those that will not come back.
func (e *entry) leave() {
	if e.q.left--; e.q.left == 0 {
		close(e.q.done)
	}
}

// admitLocker counts a request that waits for a lock in, if that leaves half of
// the entries to others: the unlock that ends the wait needs one.
func (q *queue) admitLocker() bool {
	if q.lockers >= len(q.entries)/2 {
		return false
	}
	q.lockers++
	return true
}

// serve answers the request in the entry.
func (e *entry) serve(task *reactor.Task) {
	unique, opcode := e.header.unique(), e.header.opcode()
	interrupted := e.begin(task, unique)
	if !interrupted && !e.q.s.traced && (opcode == opRead || opcode == opWrite) {
		task.Follow(&e.following)
	}
	n, errno := e.answer(unique, opcode)
	if task.Followed() {
		e.unique.Store(0)
		return
	}
	e.send(n, errno, unique)
}

// serveAgain answers the READ or WRITE whose reply ahead was dropped.
func (e *entry) serveAgain(task *reactor.Task) {
	unique := e.direct.header().Unique
	e.begin(task, unique)
	task.Resume(&e.following)
	n, errno := e.carry(e.direct.resume(unique))
	e.send(n, errno, unique)
}

// begin makes the request known to interrupts, and reports whether there was one
// already.
func (e *entry) begin(task *reactor.Task, unique uint64) (interrupted bool) {
	s := e.q.s
	e.task.Store(task)
	e.unique.Store(unique)
	if s.early.any() && s.early.take(unique) || s.ended.Load() {
		go s.interruptEntry(e, unique) // ends when the request does
		return true
	}
	return false
}

// send gives the reply, n bytes with the header or errno, to the kernel.
func (e *entry) send(n int, errno syscall.Errno, unique uint64) {
	e.unique.Store(0)
	e.header.setReply(n, e.head[:], errno, unique)
	putCommand(e.command.Submit(deviceFile, cmdCommitAndFetch, 0, 0), unique, e.q.id)
}

// replyAhead makes the reply to a READ or WRITE whose n bytes are about to be
// read into the payload or written from there. It must be what carry will say.
func (e *entry) replyAhead(n int, area *[80]byte) {
	unique := e.header.unique()
	if e.header.opcode() == opWrite {
		putWriteOut(e.payload, uint32(n))
		n = writeOutSize
	}
	var head [outHeaderSize]byte
	putOutHeader(head[:], outHeaderSize+n, 0, unique)
	e.header.setReply(outHeaderSize+n, head[:], 0, unique)
	putCommand(area, unique, e.q.id)
}

// answer has the node tree write its reply into the entry and returns its
// length with the header, or why there is none.
func (e *entry) answer(unique uint64, opcode uint32) (int, syscall.Errno) {
	if !e.header.request(e.payload, e.parts[:]) {
		return 0, syscall.EIO
	}
	if e.header.goesDirectly() && !e.q.s.traced {
		if !e.takeDirect(opcode) {
			return 0, syscall.EIO
		}
		return e.carry(e.direct.begin(unique))
	}
	switch opcode {
	case opSetLkw:
		if unlocks(e.parts[1]) {
			break // flock(2) says so whether it waits or not
		}
		if !e.q.admitLocker() {
			return 0, syscall.ENOLCK
		}
		defer func() { e.q.lockers-- }()
	case opNotifyReply:
		e.q.s.notifier.reply(unique, e.parts[1], e.parts[2])
		return 0, 0
	case opIoctl:
		e.ioctl = append(e.ioctl[:0], e.parts[2]...)
		e.parts[2] = e.ioctl
	}
	n, status := e.q.s.protocol.HandleRequest(e.parts[:], e.reply[:])
	return n, syscall.Errno(status)
}
