package overuring

import (
	"encoding/binary"
	"syscall"
	"testing"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// newHeader is the header buffer of a request of opcode, with op bytes of its
// own in the header and size bytes of payload.
func newHeader(opcode uint32, unique uint64, op, size int) header {
	h := make(header, headerSize)
	binary.NativeEndian.PutUint32(h[0:], uint32(inHeaderSize+op+size))
	binary.NativeEndian.PutUint32(h[4:], opcode)
	binary.NativeEndian.PutUint64(h[8:], unique)
	binary.NativeEndian.PutUint32(h[272:], uint32(size))
	return h
}

func TestSizesAgreeWithGoFuse(t *testing.T) {
	if got := int(unsafe.Sizeof(fuse.InHeader{})); got != inHeaderSize {
		t.Errorf("InHeader has %d bytes", got)
	}
	if got := int(unsafe.Sizeof(fuse.OutHeader{})); got != outHeaderSize {
		t.Errorf("OutHeader has %d bytes", got)
	}
	if slotSize < headerSize+32 || slotSize%64 != 0 {
		t.Errorf("slots of %d bytes do not hold a header and two vectors in whole cache lines", slotSize)
	}
}

func TestRequestIsSplitByItsLengths(t *testing.T) {
	payload := make([]byte, 8192)
	for _, c := range []struct {
		op, size int
		ok       bool
	}{
		{0, 0, true}, {40, 0, true}, {40, 4096, true}, {128, 8192, true},
		{129, 0, false}, {0, 8193, false}, {-1, 10, false},
	} {
		h := newHeader(15, 2, c.op, c.size)
		var parts [3][]byte
		ok := h.request(payload, parts[:])
		if ok != c.ok {
			t.Errorf("op %d, payload %d: taken is %v", c.op, c.size, ok)
		}
		if ok && (len(parts[0]) != 40 || len(parts[1]) != c.op || len(parts[2]) != c.size) {
			t.Errorf("op %d, payload %d: parts of %d, %d and %d bytes", c.op, c.size, len(parts[0]), len(parts[1]), len(parts[2]))
		}
	}
}

func TestReplyWithoutPayloadCarriesTheErrno(t *testing.T) {
	h := newHeader(15, 1234, 40, 100)
	h.setReply(0, nil, syscall.EIO, 1234)
	if h.length() != 16 || int32(binary.NativeEndian.Uint32(h[4:])) != -int32(syscall.EIO) || h.unique() != 1234 || h.payload() != 0 {
		t.Errorf("header % x, payload %d", h[:16], h.payload())
	}
}

func TestReplyOfGoFuseIsTaken(t *testing.T) {
	h := newHeader(15, 1234, 40, 100)
	head := make([]byte, outHeaderSize)
	putOutHeader(head, 16+4096, 0, 1234)
	h.setReply(16+4096, head, 0, 1234)
	if h.length() != 16+4096 || h.unique() != 1234 || h.payload() != 4096 {
		t.Errorf("header % x, payload %d", h[:16], h.payload())
	}
}

func TestCommandArea(t *testing.T) {
	var area [80]byte
	putCommand(&area, 0x1122334455667788, 0x99aa)
	if flags := binary.NativeEndian.Uint64(area[0:]); flags != 0 {
		t.Errorf("flags %x", flags)
	}
	if commit := binary.NativeEndian.Uint64(area[8:]); commit != 0x1122334455667788 {
		t.Errorf("commit_id %x", commit)
	}
	if qid := binary.NativeEndian.Uint16(area[16:]); qid != 0x99aa {
		t.Errorf("qid %x", qid)
	}
}

func TestInterruptNamesItsRequest(t *testing.T) {
	p := interruptRequest(42)
	if interrupted(p) != 42 || header(p).opcode() != opInterrupt || header(p).unique() != 43 || int(header(p).length()) != len(p) {
		t.Errorf("% x", p)
	}
}

func TestPayloadHoldsTheLargestRequest(t *testing.T) {
	for _, c := range []struct {
		write uint32
		pages uint16
		want  int
	}{{4096, 1, 8192}, {1 << 20, 256, 1 << 20}, {128 << 10, 64, 256 << 10}} {
		if got := payloadSize(&fuse.InitOut{MaxWrite: c.write, MaxPages: c.pages}); got != c.want {
			t.Errorf("max_write %d, max_pages %d: %d bytes, want %d", c.write, c.pages, got, c.want)
		}
	}
}

func TestArenaEntriesDoNotOverlap(t *testing.T) {
	const entries, payload = 5, 10_000
	a, err := newArena(entries, payload)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for i := range entries {
		h, p, iovs := a.entry(i)
		if len(h) != headerSize || len(p) < payload {
			t.Fatalf("entry %d: header of %d, payload of %d bytes", i, len(h), len(p))
		}
		if uintptr(unsafe.Pointer(&p[0]))%4096 != 0 {
			t.Errorf("payload %d is not aligned", i)
		}
		if iovs[0].Base != &h[0] || iovs[1].Base != &p[0] || iovs[0].Len != headerSize || iovs[1].Len != uint64(len(p)) {
			t.Errorf("vectors %d: %+v", i, *iovs)
		}
		for _, b := range [][]byte{h, p} {
			for k := range b {
				if b[k] != 0 {
					t.Fatalf("entry %d overlaps another", i)
				}
				b[k] = 1
			}
		}
	}
}
