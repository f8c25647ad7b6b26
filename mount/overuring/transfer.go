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
	read  fuse.ReadIn
	write fuse.WriteIn
	data  [1][]byte // of a WRITE, for Writev

	written uint32 // by a WRITE, for the payload; that may not be ours any more

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

// carry answers the READ or WRITE in the entry; see answer. It leaves it to serve
// to put the reply to a WRITE into the payload.
func (e *entry) carry(unique uint64, opcode uint32) (n int, errno syscall.Errno) {
	cancel := e.transfer.begin(unique)
	defer func() {
		e.transfer.end()
		if value := recover(); value != nil {
			n, errno = 0, syscall.Errno(e.q.s.panicked(value))
			if errno == 0 {
				errno = syscall.EIO
			}
		}
	}()
	if opcode == opRead {
		return e.carryRead(cancel, unique)
	}
	return e.carryWrite(cancel, unique)
}

func (e *entry) carryRead(cancel <-chan struct{}, unique uint64) (int, syscall.Errno) {
	in := &e.transfer.read
	if !e.input(unsafe.Slice((*byte)(unsafe.Pointer(in)), unsafe.Sizeof(*in))) || int(in.Size) > len(e.payload) {
		return 0, syscall.EIO
	}
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
	putOutHeader(e.head[:], outHeaderSize+n, 0, unique)
	return outHeaderSize + n, 0
}

func (e *entry) carryWrite(cancel <-chan struct{}, unique uint64) (int, syscall.Errno) {
	in := &e.transfer.write
	data := e.parts[2]
	if !e.input(unsafe.Slice((*byte)(unsafe.Pointer(in)), unsafe.Sizeof(*in))) || int(in.Size) != len(data) {
		return 0, syscall.EIO
	}
	e.transfer.data[0] = data
	n, status := e.q.s.raw.Writev(cancel, in, e.transfer.data[:])
	if status == fuse.ENOSYS {
		n, status = e.q.s.raw.Write(cancel, in, data)
	}
	if status != fuse.OK {
		return 0, syscall.Errno(status)
	}
	e.transfer.written = n
	putOutHeader(e.head[:], outHeaderSize+writeOutSize, 0, unique)
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
