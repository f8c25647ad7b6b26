package overuring

import "testing"

func TestTransferIsInterruptedByItsOwnNumber(t *testing.T) {
	var tr transfer
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	first := tr.begin(2)
	if tr.interrupt(4) || closed(first) {
		t.Error("interrupted by the number of another request")
	}
	tr.end()
	if tr.interrupt(2) || closed(first) {
		t.Error("interrupted after its end")
	}
	second := tr.begin(4)
	for range 2 { // the kernel may send it again
		if !tr.interrupt(4) || !closed(second) {
			t.Error("not interrupted")
		}
	}
	tr.end()
	if third := tr.begin(6); closed(third) {
		t.Error("a request begins interrupted, because the one before it was")
	}
	// One whose reply was dropped is what it was.
	tr.end()
	if tr.resume(6); !tr.interrupt(6) {
		t.Error("a request that is served again is not interrupted")
	}
	tr.end()
	if again := tr.resume(6); !closed(again) {
		t.Error("a request that is served again has lost its interrupt")
	}
}
