package overuring

import (
	"sync"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// READ and WRITE go to the file system directly. go-fuse's ProtocolServer makes
// an object of some 1 KiB for each request, and collecting those took a tenth of
// the daemon's time with requests of 4 KiB. What it does for these two beside
// that is done here, in memory that an entry keeps.

// transfer is the READ or WRITE in an entry.
type transfer struct {
	opcode uint32
	read   fuse.ReadIn
	write  fuse.WriteIn
	data   [1][]byte // of a WRITE, for Writev

	mu          sync.Mutex    // guards the rest
	unique      uint64        // the request, 0 for none
	cancel      chan struct{} // Done of the request's context
	interrupted bool          // cancel is closed
}

// begin makes the transfer that of the request unique and returns its cancel.
func (t *transfer) begin(unique uint64) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cancel == nil || t.interrupted {
		t.cancel, t.interrupted = make(chan struct{}), false
	}
	t.unique = unique
	return t.cancel
}

// resume is begin for a request that has ended before its reply was sent, and so
// may have been interrupted.
func (t *transfer) resume(unique uint64) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unique = unique
	return t.cancel
}

func (t *transfer) end() {
	t.mu.Lock()
	t.unique = 0
	t.mu.Unlock()
}

// interrupt ends the context of the request unique, and reports whether it is
// the one that runs.
func (t *transfer) interrupt(unique uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unique != unique {
		return false
	}
	if !t.interrupted {
		t.interrupted = true
		close(t.cancel)
	}
	return true
}

// takeTransfer copies what the READ or WRITE in the entry asks for, which the reply
// may overwrite, and reports whether it can be served.
func (e *entry) takeTransfer(opcode uint32) bool {
	t := &e.transfer
	t.opcode = opcode
	if opcode == opRead {
		return e.input(unsafe.Slice((*byte)(unsafe.Pointer(&t.read)), unsafe.Sizeof(t.read))) && int(t.read.Size) <= len(e.payload)
	}
	return e.input(unsafe.Slice((*byte)(unsafe.Pointer(&t.write)), unsafe.Sizeof(t.write))) && int(t.write.Size) == len(e.parts[2])
}

// header is that of the request.
func (t *transfer) header() *fuse.InHeader {
	if t.opcode == opRead {
		return &t.read.InHeader
	}
	return &t.write.InHeader
}

// carry answers the READ or WRITE that takeTransfer has taken, within a context
// that ends with cancel; see answer. With a reply that was sent ahead its result
// means nothing.
func (e *entry) carry(cancel <-chan struct{}) (n int, errno syscall.Errno) {
	defer func() {
		e.transfer.end()
		if value := recover(); value != nil {
			n, errno = 0, syscall.Errno(e.q.s.panicked(value))
			if errno == 0 {
				errno = syscall.EIO
			}
		}
	}()
	if e.transfer.opcode == opRead {
		return e.carryRead(cancel)
	}
	return e.carryWrite(cancel)
}

func (e *entry) carryRead(cancel <-chan struct{}) (int, syscall.Errno) {
	in := &e.transfer.read
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
	in := &e.transfer.write
	e.transfer.data[0] = e.parts[2]
	n, status := e.q.s.raw.Writev(cancel, in, e.transfer.data[:])
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

// input copies the request's headers, which the kernel shares with us, into in
// and reports whether they have its size.
func (e *entry) input(in []byte) bool {
	if len(e.parts[0])+len(e.parts[1]) != len(in) {
		return false
	}
	copy(in[copy(in, e.parts[0]):], e.parts[1])
	return true
}
