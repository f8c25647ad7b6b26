package fs

import (
	"bytes"
	"context"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

// patienceStep is how long an interrupted operation goes on before its caller is
// looked at, and from one look to the next. It bounds how long a process that is
// killed outlasts its kill on a hung backing.
const patienceStep = 500 * time.Millisecond

// Patience is the patience of [reactor.Config] for the operations of a tree. The
// kernel interrupts a request for any signal, and once only, whatever follows.
// As on other filesystems, what a program handles or ignores does not make its
// I/O fail; so an operation goes on as long as its caller waits for it, unless the
// caller is being killed, or asked to stop (SIGINT, SIGQUIT, SIGTERM, SIGHUP): then
// reads and writes fail with EINTR. A caller that cannot be seen counts as killed.
func Patience(ctx context.Context, op reactor.Opcode, waited time.Duration) (again time.Duration) {
	if waited == 0 || callerOf(ctx).waitsFor(op) {
		return patienceStep
	}
	return 0
}

// signals is a set of them, as /proc prints it.
type signals uint64

func signalSet(list ...unix.Signal) (set signals) {
	for _, sig := range list {
		set |= 1 << (sig - 1)
	}
	return set
}

var (
	// stopSignals are those by which users ask programs to stop.
	stopSignals = signalSet(unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP)
	// mildSignals do not end a process that does not handle them.
	mildSignals = signalSet(unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH,
		unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
)

// waitsFor reports whether the caller, whose request was interrupted, waits for it
// all the same.
func (c caller) waitsFor(op reactor.Opcode) bool {
	var state, name []byte // nil if it is not to be seen
	var pending, blocked, ignored, caught signals
	c.readStatus(func(key string, value []byte) {
		switch key {
		case "Name":
			name = value
		case "State":
			state = value
		case "SigPnd", "ShdPnd":
			pending |= parseSignals(value)
		case "SigBlk":
			blocked = parseSignals(value)
		case "SigIgn":
			ignored = parseSignals(value)
		case "SigCgt":
			caught = parseSignals(value)
		}
	})
	pending &^= blocked | ignored
	switch {
	case !bytes.HasPrefix(state, []byte("D")):
		// Who was interrupted sleeps like that until the request is over (Linux
		// 6.18, request_wait_answer). This one is dead, or has been sent away
		// when the connection ended.
		return false
	case bytes.HasPrefix(name, []byte("iou-wrk-")):
		// A kernel thread of the caller's io_uring: it gets no signals, and is
		// interrupted when its operation is cancelled.
		return false
	case pending&^(caught|mildSignals) != 0:
		// It will not survive. Mostly this is SIGKILL, which every thread of a
		// process gets when another signal is the death of it, but for those
		// that dump core.
		return false
	}
	return pending&stopSignals == 0 || op == reactor.OpFsync || op == reactor.OpFallocate
}

func parseSignals(hex []byte) signals {
	set, _ := strconv.ParseUint(string(hex), 16, 64) // the kernel writes nothing else
	return signals(set)
}
