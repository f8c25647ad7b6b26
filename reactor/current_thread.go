//go:build !(amd64 || arm64)

package reactor

import (
	"sync"
	"syscall"
)

// byThread finds the executor of a thread, by its id. A goroutine that runs on
// an executor's thread is the executor's or its current task, since the thread
// is locked.
var byThread sync.Map // int to *Executor

func gettid() int {
	tid, _, _ := syscall.RawSyscall(syscall.SYS_GETTID, 0, 0, 0)
	return int(tid)
}

func find() *Task {
	if e, ok := byThread.Load(gettid()); ok {
		return e.(*Executor).current
	}
	return nil
}

// enlist makes find know the thread of the calling coroutine, until delist.
func (t *Task) enlist() {
	t.goroutine = uintptr(gettid())
	byThread.Store(int(t.goroutine), t.e)
}

// delist leaves the thread to the other coroutines until the executor ends.
func (t *Task) delist() {
	if t.e.leaving {
		byThread.Delete(int(t.goroutine))
	}
}

// goroutineSet is everybody: here a goroutine cannot be told from others that
// share its thread in turn, so [Reactor.Block] bounds those of tasks only.
type goroutineSet struct{}

func (*goroutineSet) has() bool { return true }
func (*goroutineSet) add()      {}
func (*goroutineSet) remove()   {}
