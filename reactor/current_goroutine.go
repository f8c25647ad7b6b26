//go:build amd64 || arm64

package reactor

import (
	"sync"
	"sync/atomic"
)

// getg is the address of the runtime's record of the calling goroutine, which
// is this one's for as long as it lives. A coroutine is a goroutine of its own,
// so that tells tasks apart, for some ns; a gettid(2) costs a system call in
// the middle of each file operation.
func getg() uintptr

// A coroutine stands in the place that its goroutine's address gives it, or
// in crowd if that is taken.
var (
	places  [1 << 12]atomic.Pointer[Task]
	crowd   sync.Map // uintptr to *Task
	crowded atomic.Int32
)

func placeOf(g uintptr) *atomic.Pointer[Task] {
	return &places[(g>>6^g>>18)%uintptr(len(places))]
}

func find() *Task {
	g := getg()
	if t := placeOf(g).Load(); t != nil && t.goroutine == g {
		return t
	}
	if crowded.Load() > 0 {
		if t, ok := crowd.Load(g); ok {
			return t.(*Task)
		}
	}
	return nil
}

// enlist makes find know the calling coroutine, until delist.
func (t *Task) enlist() {
	t.goroutine = getg()
	if !placeOf(t.goroutine).CompareAndSwap(nil, t) {
		crowd.Store(t.goroutine, t)
		crowded.Add(1)
	}
}

func (t *Task) delist() {
	if placeOf(t.goroutine).CompareAndSwap(t, nil) {
		return
	}
	crowd.Delete(t.goroutine)
	crowded.Add(-1)
}

// goroutineSet knows the goroutines that are in it. Each adds and removes itself.
type goroutineSet struct {
	places  [1 << 8]atomic.Uintptr
	crowd   sync.Map // uintptr to nothing: whose place was taken
	crowded atomic.Int32
}

func (s *goroutineSet) place(g uintptr) *atomic.Uintptr {
	return &s.places[(g>>6^g>>18)%uintptr(len(s.places))]
}

// has reports whether the calling goroutine is in the set.
func (s *goroutineSet) has() bool {
	g := getg()
	if s.place(g).Load() == g {
		return true
	}
	if s.crowded.Load() == 0 {
		return false
	}
	_, ok := s.crowd.Load(g)
	return ok
}

func (s *goroutineSet) add() {
	g := getg()
	if !s.place(g).CompareAndSwap(0, g) {
		s.crowd.Store(g, nil)
		s.crowded.Add(1)
	}
}

func (s *goroutineSet) remove() {
	g := getg()
	if !s.place(g).CompareAndSwap(g, 0) {
		s.crowd.Delete(g)
		s.crowded.Add(-1)
	}
}
