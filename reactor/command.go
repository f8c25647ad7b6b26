package reactor

import (
	sys "github.com/iceber/iouring-go/syscall"
)

// Command is an IORING_OP_URING_CMD: a request of a device driver's own, made of
// a number, an 80-byte area and, on request, a buffer. It belongs to an executor
// with [ExecutorConfig.Commands] and is submitted any number of times, once at a
// time. Its methods are for the executor's thread (Setup, tasks, done functions).
type Command struct {
	e        *Executor
	index    uint32
	gen      uint32 // of its next completion, so that an earlier one finds nobody
	done     func(res int32)
	inFlight bool

	// What it follows; see Task.Follow.
	slot    *slot    // of its transfers, made on first use
	linked  bool     // to one that is not over
	moved   int      // bytes of the last one
	entry   *sqe     // its own, until the kernel has taken it
	finally []func() // to be called when that one is over
}

// commandTag marks the user data of commands; slots have smaller indices.
const commandTag = uint64(1) << 31

// NewCommand makes a command. done gets the result of each submission, on the
// executor's thread but outside any task: it must not block.
func (e *Executor) NewCommand(done func(res int32)) *Command {
	c := &Command{e: e, index: uint32(len(e.commands)), done: done}
	e.commands = append(e.commands, c)
	return c
}

// Submit queues the command number op for the registered file of that index. It
// goes out with the next batch, not before the calling task waits or is over,
// so the caller fills the area, which is zeroed, until then. addr and length
// describe the buffer, and what is at addr must not be moved by Go.
func (c *Command) Submit(file int, op uint32, addr uintptr, length uint32) (area *[80]byte) {
	if c.inFlight {
		panic("reactor: command submitted while in flight")
	}
	t := c.e.t
	t.mu.Lock()
	defer t.mu.Unlock()
	entry := t.q.next()
	for entry == nil {
		t.push()
		entry = t.q.next()
	}
	c.prepare(entry, file, op, addr, length)
	return t.q.command(entry)
}

// prepare fills the entry, which is then submitted with the others. The caller
// holds the driver's mutex.
func (c *Command) prepare(entry *sqe, file int, op uint32, addr uintptr, length uint32) {
	c.inFlight = true
	entry.PrepOperation(sys.IORING_OP_URING_CMD, int32(file), uint64(addr), length, uint64(op))
	entry.SetFlags(sys.IOSQE_FLAGS_FIXED_FILE)
	entry.SetUserData(c.userData())
	c.e.t.filled = append(c.e.t.filled, c.userData())
}

func (c *Command) userData() uint64 { return uint64(c.gen)<<32 | commandTag | uint64(c.index) }

// tagged notes the completion of a command, or of the thread's own entry. The
// caller holds the driver's mutex.
func (e *Executor) tagged(c completion) bool {
	index := uint32(c.userData) &^ uint32(commandTag)
	if int(index) >= len(e.commands) {
		return e.t.tagged(c)
	}
	cmd := e.commands[index]
	if !cmd.inFlight || cmd.userData() != c.userData {
		return false
	}
	cmd.gen++
	if cmd.linked { // its transfer came short, and the kernel has dropped it
		cmd.linked = false
		cmd.drop()
	} else {
		e.arrived = append(e.arrived, arrival{command: cmd, res: c.res})
	}
	return true
}

// arrival is what became of a command.
type arrival struct {
	command *Command
	res     int32
	dropped bool // by the kernel, with the transfer that it followed
}

// tellCommands passes the results of commands on.
func (e *Executor) tellCommands() {
	for i := 0; i < len(e.arrived); i++ {
		a := e.arrived[i]
		a.command.inFlight = false
		if a.dropped {
			a.command.slot.follow.Dropped()
		} else {
			a.command.done(a.res)
		}
	}
	e.arrived = e.arrived[:0]
}
