package overuring

import (
	"encoding/binary"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// From include/uapi/linux/fuse.h: enum fuse_uring_cmd.
const (
	cmdRegister       = 1
	cmdCommitAndFetch = 2
)

// Operations that need attention of their own; go-fuse does not export them.
const (
	opForget      = 2
	opGetattr     = 3
	opRead        = 15
	opWrite       = 16
	opInit        = 26
	opSetLkw      = 33
	opInterrupt   = 36
	opIoctl       = 39
	opNotifyReply = 41
	opBatchForget = 42
)

const (
	inHeaderSize  = 40 // struct fuse_in_header
	outHeaderSize = 16 // struct fuse_out_header
	writeOutSize  = 8  // struct fuse_write_out

	// headerSize is that of struct fuse_uring_req_header: 128 bytes for the
	// headers of request and reply, 128 for what is specific to the operation,
	// and a struct fuse_uring_ent_in_out.
	headerSize    = 288
	opInOffset    = 128
	opInSize      = 128
	payloadOffset = 272 // payload_sz, u32

	// minPayload is FUSE_MIN_READ_BUFFER.
	minPayload = 8192
)

// MinMaxWrite is the least max_write, in bytes, with which the kernel may be
// offered the ring. Linux 6.18 runs into a BUG() when a request (an xattr of 64
// KiB) does not fit the payload buffer; to be looked at again when it is fixed.
const MinMaxWrite = 128 << 10

// header is the header buffer of an entry, which it shares with the kernel.
type header []byte

func (h header) length() uint32  { return binary.NativeEndian.Uint32(h[0:]) }
func (h header) opcode() uint32  { return binary.NativeEndian.Uint32(h[4:]) }
func (h header) unique() uint64  { return binary.NativeEndian.Uint64(h[8:]) }
func (h header) node() uint64    { return binary.NativeEndian.Uint64(h[16:]) }
func (h header) payload() uint32 { return binary.NativeEndian.Uint32(h[payloadOffset:]) }

// request splits the entry's request into its parts, of which it needs room for
// three. It reports false if the lengths contradict each other.
func (h header) request(payload []byte, parts [][]byte) bool {
	size := h.payload()
	op := int64(h.length()) - inHeaderSize - int64(size)
	if op < 0 || op > opInSize || int64(size) > int64(len(payload)) {
		return false
	}
	parts[0] = h[:inHeaderSize]
	parts[1] = h[opInOffset : opInOffset+op]
	parts[2] = payload[:size]
	return true
}

// setReply makes the entry's reply one of n bytes: head, a struct
// fuse_out_header, and the payload. n is 0 where there is none: then it becomes
// errno, which may be 0.
func (h header) setReply(n int, head []byte, errno syscall.Errno, unique uint64) {
	if n < outHeaderSize {
		putOutHeader(h, outHeaderSize, -int32(errno), unique)
		n = outHeaderSize
	} else {
		copy(h, head)
	}
	binary.NativeEndian.PutUint32(h[payloadOffset:], uint32(n-outHeaderSize))
}

// putOutHeader writes a struct fuse_out_header.
func putOutHeader(p []byte, length int, status int32, unique uint64) {
	binary.NativeEndian.PutUint32(p[0:], uint32(length))
	binary.NativeEndian.PutUint32(p[4:], uint32(status))
	binary.NativeEndian.PutUint64(p[8:], unique)
}

// putWriteOut writes a struct fuse_write_out.
func putWriteOut(p []byte, size uint32) {
	binary.NativeEndian.PutUint32(p[0:], size)
	binary.NativeEndian.PutUint32(p[4:], 0)
}

// putCommand writes a struct fuse_uring_cmd_req.
func putCommand(area *[80]byte, commit uint64, queue uint16) {
	binary.NativeEndian.PutUint64(area[0:], 0) // flags
	binary.NativeEndian.PutUint64(area[8:], commit)
	binary.NativeEndian.PutUint16(area[16:], queue)
}

// unlocks reports whether a struct fuse_lk_in asks for a lock to be dropped.
func unlocks(p []byte) bool {
	const typ = 32 // of its struct fuse_file_lock, u32
	return len(p) >= typ+4 && binary.NativeEndian.Uint32(p[typ:]) == unix.F_UNLCK
}

// interruptRequest is an INTERRUPT of our own for the request unique.
func interruptRequest(unique uint64) []byte {
	p := make([]byte, inHeaderSize+8)
	binary.NativeEndian.PutUint32(p[0:], uint32(len(p)))
	binary.NativeEndian.PutUint32(p[4:], opInterrupt)
	binary.NativeEndian.PutUint64(p[8:], unique|1) // FUSE_INT_REQ_BIT
	binary.NativeEndian.PutUint64(p[inHeaderSize:], unique)
	return p
}

// interrupted is the request that an INTERRUPT is for.
func interrupted(p []byte) uint64 { return binary.NativeEndian.Uint64(p[inHeaderSize:]) }

// ringOffer is the bit of fuse.CAP_OVER_IO_URING in flags2 of INIT.
const ringOffer = uint32(fuse.CAP_OVER_IO_URING >> 32)

// initReply is the reply to INIT with its header, as go-fuse made it.
type initReply []byte

func (r initReply) status() int32 { return int32(binary.NativeEndian.Uint32(r[4:])) }

func (r initReply) body() *fuse.InitOut {
	if len(r) < outHeaderSize+int(unsafe.Sizeof(fuse.InitOut{})) {
		return nil
	}
	return (*fuse.InitOut)(unsafe.Pointer(&r[outHeaderSize]))
}

// payloadSize is what the kernel wants of a payload buffer at least
// (fuse_uring_create_ring_ent).
func payloadSize(o *fuse.InitOut) int {
	return max(minPayload, int(o.MaxWrite), int(o.MaxPages)*unix.Getpagesize())
}
