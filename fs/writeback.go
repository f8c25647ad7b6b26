package fs

import (
	"runtime"
	"sync"
	"syscall"
)

// noticeThreads is how many files the kernel can be made to write back at once.
const noticeThreads = 4

// notices are threads that make the kernel write dirty pages back. It then waits
// for pages that READs in flight hold, uninterruptibly, and on a ring without a
// thread of its own a read that had to wait for the disk is finished by the
// thread that submitted it (task_work). One that slept here would never be:
// these threads submit nothing.
type notices struct {
	calls   chan func() // unbuffered: who calls waits anyway
	threads sync.WaitGroup
}

// start is called before the tree has I/O in flight, so that no thread has.
func (s *notices) start() {
	s.calls = make(chan func())
	for range noticeThreads {
		// Ends with close, and its thread with it.
		s.threads.Go(func() {
			runtime.LockOSThread()
			for call := range s.calls {
				call()
			}
		})
	}
}

func (s *notices) close() {
	close(s.calls)
	s.threads.Wait()
}

// writeBack has the kernel write back the node's dirty pages from byte offset off
// on, and drop what it has cached there. The request at hand must hold none of
// these pages.
func (n *node) writeBack(off int64) (errno syscall.Errno) {
	n.tree.block(func() syscall.Errno {
		done := make(chan struct{})
		n.tree.notices.calls <- func() {
			errno = n.NotifyContent(off, 0)
			close(done)
		}
		<-done
		return 0
	})
	return errno
}
