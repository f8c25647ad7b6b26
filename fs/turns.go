package fs

import (
	"sync"
	"syscall"
)

// turns lets uses of two kinds take turns: those of one kind run side by side,
// and when others wait nobody joins them. It is never locked across I/O: requests
// may share a thread, which waiting for each other must not hold (see
// reactor.Executor).
type turns struct {
	mu    sync.Mutex
	ended sync.Cond // a use has ended; L is mu
	on    bool      // the kind that runs, or ran last
	users int
	waits [2]int // how many wait to be off and on

	// turn makes the switch to a kind, when nobody is there. Nil if there is
	// nothing to be done.
	turn func(on bool) syscall.Errno
}

func (m *turns) init(on bool, turn func(on bool) syscall.Errno) {
	m.ended.L = &m.mu
	m.on, m.turn = on, turn
}

// use begins a use of a kind. The caller must end it with done unless it fails.
func (m *turns) use(t *Tree, on bool) (errno syscall.Errno) {
	m.mu.Lock()
	if m.open(on) {
		defer m.mu.Unlock()
		return m.enter(on)
	}
	m.mu.Unlock()
	t.io.Wait(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for !m.open(on) {
			m.waits[index(on)]++
			m.ended.Wait()
			m.waits[index(on)]--
		}
		errno = m.enter(on)
	})
	return errno
}

// open says whether a use of that kind may begin: it shares with its own kind
// if no other waits, and after its own kind others come first.
func (m *turns) open(on bool) bool {
	others := m.waits[index(!on)] > 0
	if m.users > 0 {
		return m.on == on && !others
	}
	return m.on != on || !others
}

// enter counts a user in. The caller holds mu.
func (m *turns) enter(on bool) syscall.Errno {
	if m.on != on && m.turn != nil {
		if errno := m.turn(on); errno != 0 {
			m.ended.Broadcast()
			return errno
		}
	}
	m.on = on
	m.users++
	return 0
}

// done ends a use.
func (m *turns) done() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users--; m.users == 0 {
		m.ended.Broadcast()
	}
}

func index(on bool) int {
	if on {
		return 1
	}
	return 0
}
