package reactor

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Block runs fn, which may block in a system call and so hold a thread, and
// returns when fn has returned. No more than [Config.Blockers] functions run at
// once; others wait their turn. On an ordinary goroutine fn runs right there.
// For a task of an [Executor] it runs on another goroutine, and the task waits.
// fn may call Block again. A panic or runtime.Goexit of fn is the caller's.
func (r *Reactor) Block(fn func()) {
	t := current()
	if t == nil {
		r.blockers.runHere(fn)
		return
	}
	b := &blocked{fn: fn, task: t}
	r.blockers.run(b)
	b.await()
}

// Wait runs fn, which waits for something that others bring about, and returns
// when fn has returned. Unlike [Reactor.Block] it has no bound: if those who wait
// filled one, whom they wait for would have no place. A task's fn runs on a
// goroutine of its own. A panic or runtime.Goexit of fn is the caller's.
func (r *Reactor) Wait(fn func()) {
	t := current()
	if t == nil {
		fn()
		return
	}
	t.aside(fn)
}

// blocked is a function that a task waits for.
type blocked struct {
	fn       func()
	task     *Task
	done     atomic.Bool
	panicked any
	exited   bool
}

// await is for the task.
func (b *blocked) await() {
	for !b.done.Load() {
		b.task.park()
	}
	switch {
	case b.panicked != nil:
		panic(b.panicked)
	case b.exited:
		runtime.Goexit()
	}
}

func (b *blocked) run() {
	b.exited = true // unless what follows is reached
	defer func() {
		b.panicked = recover()
		b.done.Store(true)
		b.task.unpark()
	}()
	b.fn()
	b.exited = false
}

// blockers is a bounded set of goroutines. They are made when there is something
// to run and end when there is nothing left, so nobody has to stop them.
type blockers struct {
	mu      sync.Mutex
	max     int
	running int
	queue   []*blocked // oldest first

	here   chan struct{} // a place for each function that runs on its caller's goroutine
	inside goroutineSet  // goroutines that have such a place
}

// runHere runs fn on the calling goroutine, when there is a place for it. Who
// has a place takes no second one: all places might be waiting for that.
func (p *blockers) runHere(fn func()) {
	if p.inside.has() {
		fn()
		return
	}
	p.here <- struct{}{}
	p.inside.add()
	defer func() {
		p.inside.remove()
		<-p.here
	}()
	fn()
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
	defer func() {
		if b != nil { // it has ended this goroutine
			if b = p.next(); b != nil {
				go p.work(b)
			}
		}
	}()
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
