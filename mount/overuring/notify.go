package overuring

import (
	"encoding/binary"
	"sync"
	"syscall"
	"unsafe"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

// notifier sends notifications to the kernel through /dev/fuse, in place of
// go-fuse's server, which does not exist here.
type notifier struct {
	mu   sync.RWMutex // held for reading across writes to fd, for writing to close it
	fd   int          // -1: not open
	size int          // most bytes of one retrieval

	retrievals sync.Mutex
	next       uint64 // of pending; even and not 0, as the ring wants it
	pending    map[uint64]*retrieval
}

// retrieval is an InodeRetrieveCache that waits for its NOTIFY_REPLY.
type retrieval struct {
	node uint64
	off  uint64
	dest []byte
	n    int
	st   fuse.Status
	done chan struct{}
}

var _ fusefs.ServerCallbacks = (*notifier)(nil)

func newNotifier() *notifier {
	return &notifier{fd: -1, next: 2, pending: map[uint64]*retrieval{}}
}

// open makes fd the connection, and maxWrite the kernel's limit, in bytes.
func (n *notifier) open(fd, maxWrite int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fd, n.size = fd, maxWrite
}

// close ends all use of the descriptor.
func (n *notifier) close() {
	n.mu.Lock()
	n.fd = -1
	n.mu.Unlock()
	n.retrievals.Lock()
	defer n.retrievals.Unlock()
	for unique, r := range n.pending {
		delete(n.pending, unique)
		r.st = fuse.ENODEV
		close(r.done)
	}
}

// send writes a notification of that code (fuse.NOTIFY_*), made of parts. The kernel may wait
// for other requests meanwhile (for pages they hold), so a task must not hold
// its thread.
func (n *notifier) send(code int32, parts ...[]byte) fuse.Status {
	task := reactor.Current()
	if task == nil {
		return n.write(code, parts)
	}
	var st fuse.Status
	done := make(chan struct{})
	// Ends with the write; waitFor waits for it.
	go func() {
		st = n.write(code, parts)
		close(done)
		task.Unpark()
	}()
	waitFor(task, done)
	return st
}

// waitFor parks task until done is closed, whose closer unparks it.
func waitFor(task *reactor.Task, done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		default:
		}
		if task.Park() != nil { // closing: nobody else waits for the thread
			<-done
			return
		}
	}
}

func (n *notifier) write(code int32, parts [][]byte) fuse.Status {
	var head [outHeaderSize]byte
	iovs := append(make([][]byte, 0, 4), head[:])
	length := outHeaderSize
	for _, p := range parts {
		length += len(p)
		if len(p) > 0 {
			iovs = append(iovs, p)
		}
	}
	putOutHeader(head[:], length, -code, 0) // go-fuse has the kernel's codes negative
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.fd < 0 {
		return fuse.ENODEV
	}
	_, err := unix.Writev(n.fd, iovs)
	return fuse.ToStatus(err)
}

// ioctls of /dev/fuse (linux/fuse.h).
const (
	devBackingOpen  = 0x4010e501 // FUSE_DEV_IOC_BACKING_OPEN
	devBackingClose = 0x4004e502 // FUSE_DEV_IOC_BACKING_CLOSE
)

// RegisterBackingFd makes an open file known for kernel passthrough (Linux 6.9)
// and returns its number. go-fuse looks for this method.
func (n *notifier) RegisterBackingFd(m *fuse.BackingMap) (int32, syscall.Errno) {
	id, errno := n.ioctl(devBackingOpen, unsafe.Pointer(m))
	return int32(id), errno
}

// UnregisterBackingFd takes it back.
func (n *notifier) UnregisterBackingFd(id int32) syscall.Errno {
	_, errno := n.ioctl(devBackingClose, unsafe.Pointer(&id))
	return errno
}

func (n *notifier) ioctl(request uintptr, arg unsafe.Pointer) (uintptr, syscall.Errno) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.fd < 0 {
		return 0, syscall.ENODEV
	}
	value, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(n.fd), request, uintptr(arg))
	return value, errno
}

// bytesOf is the memory of a message struct.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

func (n *notifier) DeleteNotify(parent, child uint64, name string) fuse.Status {
	out := fuse.NotifyInvalDeleteOut{Parent: parent, Child: child, NameLen: uint32(len(name))}
	return n.send(fuse.NOTIFY_DELETE, bytesOf(&out), append([]byte(name), 0))
}

func (n *notifier) EntryNotify(parent uint64, name string) fuse.Status {
	out := fuse.NotifyInvalEntryOut{Parent: parent, NameLen: uint32(len(name))}
	return n.send(fuse.NOTIFY_INVAL_ENTRY, bytesOf(&out), append([]byte(name), 0))
}

func (n *notifier) InodeNotify(node uint64, off, length int64) fuse.Status {
	out := fuse.NotifyInvalInodeOut{Ino: node, Off: off, Length: length}
	return n.send(fuse.NOTIFY_INVAL_INODE, bytesOf(&out))
}

func (n *notifier) InodeNotifyStoreCache(node uint64, off int64, data []byte) fuse.Status {
	const most = 1 << 30 // sizes are 32 bits
	for len(data) > 0 {
		part := data[:min(len(data), most)]
		out := fuse.NotifyStoreOut{Nodeid: node, Offset: uint64(off), Size: uint32(len(part))}
		if st := n.send(fuse.NOTIFY_STORE_CACHE, bytesOf(&out), part); st != fuse.OK {
			return st
		}
		data, off = data[len(part):], off+int64(len(part))
	}
	return fuse.OK
}

// InodeRetrieveCache asks for cached data in pieces that fit a request.
func (n *notifier) InodeRetrieveCache(node uint64, off int64, dest []byte) (total int, st fuse.Status) {
	for len(dest) > total {
		got, st := n.retrieve(node, uint64(off)+uint64(total), dest[total:min(len(dest), total+n.size)])
		if got == 0 || st != fuse.OK {
			if total > 0 {
				st = fuse.OK
			}
			return total, st
		}
		total += got
	}
	return total, fuse.OK
}

func (n *notifier) retrieve(node, off uint64, dest []byte) (int, fuse.Status) {
	r := &retrieval{node: node, off: off, dest: dest, done: make(chan struct{})}
	n.retrievals.Lock()
	unique := n.next
	n.next += 2
	n.pending[unique] = r
	n.retrievals.Unlock()
	out := fuse.NotifyRetrieveOut{NotifyUnique: unique, Nodeid: node, Offset: off, Size: uint32(len(dest))}
	if st := n.send(fuse.NOTIFY_RETRIEVE_CACHE, bytesOf(&out)); st != fuse.OK {
		n.retrievals.Lock()
		defer n.retrievals.Unlock()
		delete(n.pending, unique)
		return 0, st
	}
	if task := reactor.Current(); task != nil {
		// Its reply may come to this very thread.
		go func() { // ends with the reply or close
			<-r.done
			task.Unpark()
		}()
		waitFor(task, r.done)
	} else {
		<-r.done
	}
	return r.n, r.st
}

// reply takes a NOTIFY_REPLY: head is its struct fuse_notify_retrieve_in
// without the header, data what follows.
func (n *notifier) reply(unique uint64, head, data []byte) {
	n.retrievals.Lock()
	r := n.pending[unique]
	delete(n.pending, unique)
	n.retrievals.Unlock()
	if r == nil {
		return // its caller is gone
	}
	r.st = fuse.Status(syscall.EIO)
	if len(head) >= 16 && binary.NativeEndian.Uint64(head[8:]) == r.off && len(data) <= len(r.dest) {
		r.n, r.st = copy(r.dest, data), fuse.OK
	}
	close(r.done)
}
