package overuring

import (
	"testing"
	"time"
)

func TestEarlyInterruptsAreTakenOnce(t *testing.T) {
	var e earlyInterrupts
	if e.any() {
		t.Error("there is one at the start")
	}
	e.put(2)
	e.put(4)
	if !e.any() || e.take(6) || !e.take(2) || e.take(2) || !e.take(4) || e.any() {
		t.Error("not taken once each")
	}
}

func TestEarlyInterruptsGrowOld(t *testing.T) {
	var e earlyInterrupts
	e.put(2)
	e.at[2] = time.Now().Add(-2 * earlyFor)
	e.put(4)
	if e.take(2) || !e.take(4) {
		t.Error("an interrupt that nobody wanted stays for ever")
	}
}
