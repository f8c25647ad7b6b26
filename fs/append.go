package fs

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// appendMode is whether a backing descriptor that was opened with O_APPEND has
// it now. Writes of one kind run side by side; one of the other kind waits until
// there are none. It is never locked across a write: requests may share a
// thread, which waiting for each other must not hold (see reactor.Executor).
type appendMode struct {
	mu    sync.Mutex
	ended sync.Cond // a write has ended; L is mu
	on    bool
	users int
}

func (m *appendMode) init() {
	m.ended.L = &m.mu
	m.on = true
}

// use makes the descriptor append or not, as the write at hand needs it, and
// keeps it so until done: fcntl(2) may have changed the caller's file, and pages
// written through a mapping have their place.
func (m *appendMode) use(t *Tree, fd int, on bool) syscall.Errno {
	m.mu.Lock()
	if m.on == on || m.users == 0 {
		defer m.mu.Unlock()
		return m.enter(fd, on)
	}
	m.mu.Unlock()
	return t.block(func() syscall.Errno {
		m.mu.Lock()
		defer m.mu.Unlock()
		for m.on != on && m.users > 0 {
			m.ended.Wait()
		}
		return m.enter(fd, on)
	})
}

// enter counts a user in. The caller holds mu and has waited for those of the
// other kind.
func (m *appendMode) enter(fd int, on bool) syscall.Errno {
	if m.on != on {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil {
			return toErrno(err)
		}
		flags &^= syscall.O_APPEND
		if on {
			flags |= syscall.O_APPEND
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags); err != nil {
			return toErrno(err)
		}
		m.on = on
	}
	m.users++
	return 0
}

// done ends a use.
func (m *appendMode) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users--; m.users == 0 {
		m.ended.Broadcast()
	}
}
