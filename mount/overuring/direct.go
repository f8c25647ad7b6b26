package overuring

import (
	"sync"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// READ, WRITE and GETATTR go to the file system directly. go-fuse's ProtocolServer
// makes an object of some 1 KiB for each request, and collecting those took a tenth
// of the daemon's time with requests of 4 KiB, as with stat(2). What it does for
// these three beside that is done here, in memory that an entry keeps.

// goesDirectly reports whether the request is one of those. Those to a node of
// go-fuse's own, which its file systems do not know, are not.
func (h header) goesDirectly() bool {
	switch h.opcode() {
	case opRead, opWrite, opGetattr:
		return h.node() != pollHackInode
	}
	return false
}

// pollHackInode is what LOOKUP of ".go-fuse-epoll-hack" gives.
const pollHackInode = ^uint64(0)

// direct is such a request in an entry.
type direct struct {
	opcode  uint32
	read    fuse.ReadIn
	write   fuse.WriteIn
	data    [1][]byte // of a WRITE, for Writev
	getattr fuse.GetAttrIn

	mu          sync.Mutex    // guards the rest
	unique      uint64        // the request, 0 for none
	cancel      chan struct{} // Done of the request's context
	interrupted bool          // cancel is closed
}

// begin makes it the request unique and returns its cancel.
func (d *direct) begin(unique uint64) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancel == nil || d.interrupted {
		d.cancel, d.interrupted = make(chan struct{}), false
	}
	d.unique = unique
	return d.cancel
}

// resume is begin for a request that has ended before its reply was sent, and so
// may have been interrupted.
func (d *direct) resume(unique uint64) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unique = unique
	return d.cancel
}

func (d *direct) end() {
	d.mu.Lock()
	d.unique = 0
	d.mu.Unlock()
}

// interrupt ends the context of the request unique, and reports whether it is
// the one that runs.
func (d *direct) interrupt(unique uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unique != unique {
		return false
	}
	if !d.interrupted {
		d.interrupted = true
		close(d.cancel)
	}
	return true
}

// takeDirect copies what the request in the entry asks for, which the reply may
// overwrite, and reports whether it can be served.
func (e *entry) takeDirect(opcode uint32) bool {
	d := &e.direct
	d.opcode = opcode
	switch opcode {
	case opRead:
		return e.input(unsafe.Slice((*byte)(unsafe.Pointer(&d.read)), unsafe.Sizeof(d.read))) && int(d.read.Size) <= len(e.payload)
	case opWrite:
		return e.input(unsafe.Slice((*byte)(unsafe.Pointer(&d.write)), unsafe.Sizeof(d.write))) && int(d.write.Size) == len(e.parts[2])
	}
	return e.input(unsafe.Slice((*byte)(unsafe.Pointer(&d.getattr)), unsafe.Sizeof(d.getattr)))
}

// header is that of the READ or WRITE.
func (d *direct) header() *fuse.InHeader {
	if d.opcode == opRead {
		return &d.read.InHeader
	}
	return &d.write.InHeader
}

// carry answers the request that takeDirect has taken, within a context
// that ends with cancel; see answer. With a reply that was sent ahead its result
// means nothing.
func (e *entry) carry(cancel <-chan struct{}) (n int, errno syscall.Errno) {
	defer func() {
		e.direct.end()
		if value := recover(); value != nil {
			n, errno = 0, syscall.Errno(e.q.s.panicked(value))
			if errno == 0 {
				errno = syscall.EIO
			}
		}
	}()
	switch e.direct.opcode {
	case opRead:
		return e.carryRead(cancel)
	case opWrite:
		return e.carryWrite(cancel)
	}
	return e.carryGetattr(cancel)
}

func (e *entry) carryRead(cancel <-chan struct{}) (int, syscall.Errno) {
	in := &e.direct.read
	p := e.payload[:in.Size]
	res, status := e.q.s.raw.Read(cancel, in, p)
	if res != nil {
		defer res.Done()
	}
	if status != fuse.OK {
		return 0, syscall.Errno(status)
	}
	n := 0
	if res != nil {
		data, status := res.Bytes(p)
		if status != fuse.OK {
			return 0, syscall.Errno(status)
		}
		n = len(data)
		if n > 0 && unsafe.SliceData(data) != unsafe.SliceData(p) {
			n = copy(p, data)
		}
	}
	putOutHeader(e.head[:], outHeaderSize+n, 0, in.Unique)
	return outHeaderSize + n, 0
}

func (e *entry) carryWrite(cancel <-chan struct{}) (int, syscall.Errno) {
	in := &e.direct.write
	e.direct.data[0] = e.parts[2]
	n, status := e.q.s.raw.Writev(cancel, in, e.direct.data[:])
	if status == fuse.ENOSYS {
		n, status = e.q.s.raw.Write(cancel, in, e.parts[2])
	}
	if status != fuse.OK {
		return 0, syscall.Errno(status)
	}
	putWriteOut(e.payload, n) // as replyAhead has, if the data is still to be written
	putOutHeader(e.head[:], outHeaderSize+writeOutSize, 0, in.Unique)
	return outHeaderSize + writeOutSize, 0
}

func (e *entry) carryGetattr(cancel <-chan struct{}) (int, syscall.Errno) {
	in, out := &e.direct.getattr, (*fuse.AttrOut)(unsafe.Pointer(unsafe.SliceData(e.payload)))
	*out = fuse.AttrOut{}
	if status := e.q.s.raw.GetAttr(cancel, in, out); status != fuse.OK {
		return 0, syscall.Errno(status)
	}
	const size = outHeaderSize + int(unsafe.Sizeof(*out))
	putOutHeader(e.head[:], size, 0, in.Unique)
	return size, 0
}

// input copies the request's headers, which the kernel shares with us, into in
// and reports whether they have its size.
func (e *entry) input(in []byte) bool {
	if len(e.parts[0])+len(e.parts[1]) != len(in) {
		return false
	}
	copy(in[copy(in, e.parts[0]):], e.parts[1])
	return true
}
