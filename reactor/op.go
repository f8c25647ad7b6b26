package reactor

import (
	"strings"
	"syscall"
	"time"
	"unsafe"

	sys "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// Opcode says what an [Op] does. The values are the kernel's IORING_OP_*.
type Opcode uint8

// The operations of file I/O. The comment gives the fields of [Op] they use.
const (
	OpNop       = Opcode(sys.IORING_OP_NOP)       // –
	OpRead      = Opcode(sys.IORING_OP_READ)      // FD, Buf, Off, Flags (RWF_*)
	OpWrite     = Opcode(sys.IORING_OP_WRITE)     // FD, Buf, Off, Flags (RWF_*)
	OpReadv     = Opcode(sys.IORING_OP_READV)     // FD, Bufs, Off, Flags (RWF_*)
	OpWritev    = Opcode(sys.IORING_OP_WRITEV)    // FD, Bufs, Off, Flags (RWF_*)
	OpFsync     = Opcode(sys.IORING_OP_FSYNC)     // FD, Flags (FsyncData)
	OpFallocate = Opcode(sys.IORING_OP_FALLOCATE) // FD, Off, Len, Flags (FALLOC_FL_*)
	OpOpenat    = Opcode(sys.IORING_OP_OPENAT)    // FD (directory), Path, Flags (O_*), Mode; N is the new descriptor
	OpStatx     = Opcode(sys.IORING_OP_STATX)     // FD (directory), Path, Flags (AT_*), Mode (STATX_* mask), Stat
	OpClose     = Opcode(sys.IORING_OP_CLOSE)     // FD
)

// FsyncData makes OpFsync an fdatasync(2).
const FsyncData = fsyncDatasync

// AtPosition as Op.Off makes a read or write use and move the file's own
// position, as read(2) and write(2) do; pipes and sockets know no other.
const AtPosition int64 = -1

func (c Opcode) String() string {
	switch c {
	case OpNop:
		return "nop"
	case OpRead, OpReadv:
		return "read"
	case OpWrite, OpWritev:
		return "write"
	case OpFsync:
		return "fsync"
	case OpFallocate:
		return "fallocate"
	case OpOpenat:
		return "openat"
	case OpStatx:
		return "statx"
	case OpClose:
		return "close"
	}
	return "operation"
}

// Op is one operation to hand to a ring. Which fields count depends on Code.
type Op struct {
	Code Opcode
	// FD stays open until the operation has ended; a descriptor that is
	// closed and reused before may be read or written in place of the old.
	// Where that can be later than the event (a deadline on a hung backing),
	// take a [File], which sees to it.
	FD int
	// Buf and Bufs belong to the reactor until the operation has ended.
	Buf  []byte
	Bufs [][]byte
	// Off is a byte offset, or AtPosition.
	Off int64
	// Len is in bytes.
	Len int64
	// Flags and Mode are the system call's arguments of that name.
	Flags, Mode uint32
	Path        string
	Stat        *unix.Statx_t // filled when the operation has succeeded
	// Unprivileged: what the operation takes of the filesystem is taken with
	// the rights of an ordinary user. See [File.SetUnprivileged].
	Unprivileged bool
	// Timeout bounds the operation, from submission; 0 takes that of the
	// reactor. See [Config.Timeout].
	Timeout time.Duration
}

// transfers reports whether the operation moves bytes and so may come back short.
func (op *Op) transfers() bool {
	switch op.Code {
	case OpRead, OpWrite, OpReadv, OpWritev:
		return true
	}
	return false
}

// writes reports whether the operation moves bytes to the file.
func (op *Op) writes() bool { return op.Code == OpWrite || op.Code == OpWritev }

// size is how many bytes the operation moves at most.
func (op *Op) size() int {
	switch op.Code {
	case OpRead, OpWrite:
		return len(op.Buf)
	case OpReadv, OpWritev:
		n := 0
		for _, b := range op.Bufs {
			n += len(b)
		}
		return n
	}
	return 0
}

// check finds faults of the caller that the kernel would answer oddly.
func (op *Op) check() syscall.Errno {
	switch op.Code {
	case OpNop, OpFsync, OpFallocate, OpClose:
	case OpRead, OpWrite, OpReadv, OpWritev:
		if op.Off < AtPosition {
			return syscall.EINVAL
		}
		if len(op.Bufs) > 1024 { // IOV_MAX
			return syscall.EINVAL
		}
	case OpOpenat, OpStatx:
		if strings.IndexByte(op.Path, 0) >= 0 { // the kernel would see what is before it
			return syscall.EINVAL
		}
		if op.Code == OpStatx && op.Stat == nil {
			return syscall.EFAULT
		}
	default:
		return syscall.EINVAL
	}
	return 0
}

// prepare fills e for what is left of the operation in s after s.done bytes.
func (s *slot) prepare(e *sqe) {
	op := &s.op
	off := uint64(op.Off)
	if op.Off >= 0 {
		off += uint64(s.done)
	}
	fd := int32(op.FD)
	switch op.Code {
	case OpRead, OpWrite:
		if s.follow != nil && op.writes() {
			s.setAside()
			e.PrepOperation(uint8(OpWritev), fd, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(s.iovs)))), uint32(len(s.iovs)), off)
			e.SetOpFlags(op.Flags)
			break
		}
		p := op.Buf[s.done:]
		e.PrepOperation(uint8(op.Code), fd, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))), uint32(min(len(p), maxTransfer)), off)
		e.SetOpFlags(op.Flags)
	case OpReadv, OpWritev:
		s.iovs = appendIovecs(s.iovs[:0], op.Bufs, s.done)
		e.PrepOperation(uint8(op.Code), fd, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(s.iovs)))), uint32(len(s.iovs)), off)
		e.SetOpFlags(op.Flags)
	case OpFsync:
		e.PrepOperation(uint8(op.Code), fd, 0, 0, 0)
		e.SetOpFlags(op.Flags)
	case OpFallocate: // the length travels in addr, the mode in len
		e.PrepOperation(uint8(op.Code), fd, uint64(op.Len), op.Flags, uint64(op.Off))
	case OpOpenat:
		s.path = append(append(s.path[:0], op.Path...), 0)
		e.PrepOperation(uint8(op.Code), fd, uint64(uintptr(unsafe.Pointer(&s.path[0]))), op.Mode, 0)
		e.SetOpFlags(op.Flags | unix.O_CLOEXEC)
	case OpStatx: // the mask travels in len, the result buffer in off
		s.path = append(append(s.path[:0], op.Path...), 0)
		if s.stat == nil {
			s.stat = new(unix.Statx_t)
		}
		e.PrepOperation(uint8(op.Code), fd, uint64(uintptr(unsafe.Pointer(&s.path[0]))), op.Mode, uint64(uintptr(unsafe.Pointer(s.stat))))
		e.SetOpFlags(op.Flags)
	default:
		e.PrepOperation(uint8(op.Code), fd, 0, 0, 0)
	}
	if s.async {
		e.SetFlags(sys.IOSQE_FLAGS_ASYNC)
	}
}

// appendIovecs appends what is left of bufs after skip bytes.
func appendIovecs(iovs []unix.Iovec, bufs [][]byte, skip int) []unix.Iovec {
	for _, b := range bufs {
		if skip >= len(b) {
			skip -= len(b)
			continue
		}
		b = b[skip:]
		skip = 0
		iov := unix.Iovec{Base: unsafe.SliceData(b)}
		iov.SetLen(len(b))
		iovs = append(iovs, iov)
	}
	return iovs
}
