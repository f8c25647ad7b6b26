package reactor

import (
	"os"
	"runtime"
	"strings"
	"sync"
)

// An executor that keeps its processor enters the ring by a system call that Go's
// scheduler is not told of (a raw one). To Go the thread is running then, so
// whoever wants it to stop - the garbage collector, or the monitor after 10 ms -
// sends it a signal. That ends a wait with EINTR, and the next one is told, so
// that an idle thread neither keeps a processor nor is woken again.

// keeps reports whether the executor may keep its processor: not where Go does
// without those signals.
func (e *Executor) keeps() bool {
	return e.cfg.KeepProcessor && !strings.Contains(os.Getenv("GODEBUG"), "asyncpreemptoff=1")
}

var processorsMu sync.Mutex

// addProcessors changes GOMAXPROCS.
func addProcessors(n int) {
	processorsMu.Lock()
	defer processorsMu.Unlock()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
}
