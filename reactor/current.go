package reactor

import (
	"maps"
	"sync"
	"sync/atomic"
	"syscall"
)

// byThread finds the executor whose thread calls. A goroutine that runs on an
// executor's thread is the executor's or one of its tasks, since the thread is
// locked. It is nil while there is no executor, so that all others pay one
// load; with one, the look-up costs a gettid(2) of some 50 ns.
var (
	byThread   atomic.Pointer[map[int]*Executor]
	byThreadMu sync.Mutex // of writers
)

func current() *Task {
	m := byThread.Load()
	if m == nil {
		return nil
	}
	tid, _, _ := syscall.RawSyscall(syscall.SYS_GETTID, 0, 0, 0)
	if e := (*m)[int(tid)]; e != nil {
		return e.current
	}
	return nil
}

func register(e *Executor) {
	byThreadMu.Lock()
	defer byThreadMu.Unlock()
	m := map[int]*Executor{e.tid: e}
	if old := byThread.Load(); old != nil {
		maps.Copy(m, *old)
	}
	byThread.Store(&m)
}

func unregister(e *Executor) {
	byThreadMu.Lock()
	defer byThreadMu.Unlock()
	m := maps.Clone(*byThread.Load())
	delete(m, e.tid)
	if len(m) == 0 {
		byThread.Store(nil)
		return
	}
	byThread.Store(&m)
}
