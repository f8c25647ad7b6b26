package overuring

import (
	"sync"
	"sync/atomic"
	"time"
)

// earlyInterrupts are INTERRUPTs that found their request neither running nor
// over: it lies in its entry, or it has ended just now.
type earlyInterrupts struct {
	count atomic.Int32
	mu    sync.Mutex
	at    map[uint64]time.Time // by the request's unique
}

// earlyFor is how long an interrupt waits for its request. One that ended
// before its interrupt came leaves that behind.
const earlyFor = 10 * time.Second

func (e *earlyInterrupts) any() bool { return e.count.Load() > 0 }

func (e *earlyInterrupts) put(unique uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for old, at := range e.at {
		if now.Sub(at) > earlyFor {
			delete(e.at, old)
		}
	}
	if e.at == nil {
		e.at = map[uint64]time.Time{}
	}
	e.at[unique] = now
	e.count.Store(int32(len(e.at)))
}

// take reports whether there is one for the request, and removes it.
func (e *earlyInterrupts) take(unique uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, ok := e.at[unique]; !ok {
		return false
	}
	delete(e.at, unique)
	e.count.Store(int32(len(e.at)))
	return true
}

// interrupt passes the kernel's INTERRUPT for a request on the ring to it.
func (s *Server) interrupt(unique uint64) {
	if s.tryInterrupt(unique) {
		return
	}
	s.early.put(unique)
	// It may have started in between, and not have looked.
	if s.tryInterrupt(unique) {
		s.early.take(unique)
	}
}

// interruptEntry interrupts the request of e as soon as its context exists.
func (s *Server) interruptEntry(e *entry, unique uint64) {
	for e.unique.Load() == unique && !s.tryInterrupt(unique) {
		time.Sleep(50 * time.Microsecond) // the request is being parsed
	}
}

// tryInterrupt ends the context of a running request, and has the task that
// waits for something see it.
func (s *Server) tryInterrupt(unique uint64) (found bool) {
	found = s.interruptProtocol(unique)
	for _, q := range s.queues {
		for _, e := range q.entries {
			if e.unique.Load() != unique || !found && !e.direct.interrupt(unique) {
				continue
			}
			if task := e.task.Load(); task != nil {
				task.Interrupt()
			}
			return true
		}
	}
	return found
}

// interruptProtocol is tryInterrupt for what go-fuse's ProtocolServer serves.
func (s *Server) interruptProtocol(unique uint64) (found bool) {
	var out [outHeaderSize]byte
	// go-fuse only replies to an INTERRUPT when it does not find the request.
	n, _ := s.protocol.HandleRequest([][]byte{interruptRequest(unique)}, [][]byte{out[:]})
	return n == 0
}

// interruptAll is for the end of the connection: nobody waits for replies.
func (s *Server) interruptAll() {
	s.ended.Store(true) // for requests that are about to be served again
	for _, q := range s.queues {
		for _, e := range q.entries {
			if unique := e.unique.Load(); unique != 0 {
				go s.interruptEntry(e, unique) // ends when the request does
			}
		}
	}
}
