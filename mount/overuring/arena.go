package overuring

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// arena is the memory that entries share with the kernel, in one mapping: for
// each entry its header and the vector that names its two buffers, packed, and
// its payload. Pages cost nothing until they are touched.
type arena struct {
	mem     []byte
	heads   int // bytes of the first part
	payload int // bytes of each payload
}

// slotSize holds a header and two struct iovec, in whole cache lines.
const slotSize = (headerSize + 2*int(unsafe.Sizeof(unix.Iovec{})) + 63) &^ 63

func newArena(entries, payload int) (*arena, error) {
	page := unix.Getpagesize()
	payload = (payload + page - 1) &^ (page - 1)
	heads := (entries*slotSize + page - 1) &^ (page - 1)
	mem, err := unix.Mmap(-1, 0, heads+entries*payload, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for requests: %w", heads+entries*payload, err)
	}
	// A huge page for every small request would be memory wasted.
	_ = unix.Madvise(mem[heads:], unix.MADV_NOHUGEPAGE)
	return &arena{mem: mem, heads: heads, payload: payload}, nil
}

// entry is the memory of entry i.
func (a *arena) entry(i int) (h header, payload []byte, iovs *[2]unix.Iovec) {
	slot := a.mem[i*slotSize : (i+1)*slotSize]
	off := a.heads + i*a.payload
	h = header(slot[:headerSize:headerSize])
	payload = a.mem[off : off+a.payload : off+a.payload]
	iovs = (*[2]unix.Iovec)(unsafe.Pointer(&slot[headerSize]))
	iovs[0].Base, iovs[1].Base = &h[0], &payload[0]
	iovs[0].SetLen(len(h))
	iovs[1].SetLen(len(payload))
	return h, payload, iovs
}

func (a *arena) close() error { return unix.Munmap(a.mem) }
