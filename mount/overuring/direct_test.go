package overuring

import (
	"encoding/binary"
	"testing"
)

func TestRequestIsInterruptedByItsOwnNumber(t *testing.T) {
	var d direct
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	first := d.begin(2)
	if d.interrupt(4) || closed(first) {
		t.Error("interrupted by the number of another request")
	}
	d.end()
	if d.interrupt(2) || closed(first) {
		t.Error("interrupted after its end")
	}
	second := d.begin(4)
	for range 2 { // the kernel may send it again
		if !d.interrupt(4) || !closed(second) {
			t.Error("not interrupted")
		}
	}
	d.end()
	if third := d.begin(6); closed(third) {
		t.Error("a request begins interrupted, because the one before it was")
	}
	// One whose reply was dropped is what it was.
	d.end()
	if d.resume(6); !d.interrupt(6) {
		t.Error("a request that is served again is not interrupted")
	}
	d.end()
	if again := d.resume(6); !closed(again) {
		t.Error("a request that is served again has lost its interrupt")
	}
}

func TestNodesThatTheFileSystemDoesNotKnow(t *testing.T) {
	for _, tc := range []struct {
		opcode byte
		node   uint64
		want   bool
	}{
		{opRead, 1, true}, {opWrite, 5, true}, {opGetattr, 1, true}, {opForget, 1, false}, {opSetLkw, 1, false},
		{opRead, pollHackInode, false}, {opGetattr, pollHackInode, false},
	} {
		h := make(header, headerSize)
		h[4] = tc.opcode
		binary.NativeEndian.PutUint64(h[16:], tc.node)
		if got := h.goesDirectly(); got != tc.want {
			t.Errorf("operation %d on node %#x goes directly: %v", tc.opcode, tc.node, got)
		}
	}
}
