package reactor

import (
	"sync"
	"sync/atomic"
)

// Block runs fn, which may block in a system call, so that nothing else waits
// for it, and returns when fn has returned. On an ordinary goroutine fn simply
// runs. For a task of an [Executor] it runs on another goroutine, of which there
// are [Config.Blockers] at most, and the task waits. A panic of fn is the
// caller's.
func (r *Reactor) Block(fn func()) {
	t := current()
	if t == nil {
		fn()
		return
	}
	b := &blocked{fn: fn, task: t}
	r.blockers.run(b)
	for !b.done.Load() {
		t.park()
	}
	if b.panicked != nil {
		panic(b.panicked)
	}
}

// blocked is a function that a task waits for.
type blocked struct {
	fn       func()
	task     *Task
	done     atomic.Bool
	panicked any
}

func (b *blocked) run() {
	defer func() {
		b.panicked = recover()
		b.done.Store(true)
		b.task.unpark()
	}()
	b.fn()
}

// blockers is a bounded set of goroutines. They are made when there is something
// to run and end when there is nothing left, so nobody has to stop them.
type blockers struct {
	mu      sync.Mutex
	max     int
	running int
	queue   []*blocked // oldest first
}

func (p *blockers) run(b *blocked) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == p.max {
		p.queue = append(p.queue, b)
		return
	}
	p.running++
	go p.work(b)
}

func (p *blockers) work(b *blocked) {
	for b != nil {
		b.run()
		b = p.next()
	}
}

// next is what to run next; nil ends the goroutine.
func (p *blockers) next() *blocked {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		p.running--
		return nil
	}
	b := p.queue[0]
	p.queue[0] = nil
	p.queue = p.queue[1:]
	return b
}
