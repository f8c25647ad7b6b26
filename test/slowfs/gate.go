package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// gate is where the slow operations wait. Its settings may change at any time;
// operations that already wait are only freed by release, by their own delay
// or, while interrupts are honoured, by an interrupt.
type gate struct {
	mu              sync.Mutex // guards all below
	delay           time.Duration
	hang            bool            // wait for release, whatever the delay
	ignoreInterrupt bool            // an interrupted operation goes on waiting
	ops             map[string]bool // slow operations by name
	released        chan struct{}   // closed, and made anew, by release
	waiting         int             // operations in wait now
	passed          int             // operations that were slow and went on
	interrupted     int             // operations that ended with EINTR
}

func newGate() *gate {
	return &gate{ops: map[string]bool{}, released: make(chan struct{})}
}

// opNames are the operations that can be made slow.
var opNames = []string{"read", "write", "fsync", "flush", "open", "lookup", "getattr", "getxattr", "readdir"}

func (g *gate) setOps(list string) error {
	ops := map[string]bool{}
	for op := range strings.SplitSeq(list, ",") {
		if op != "" && !slices.Contains(opNames, op) {
			return fmt.Errorf("unknown operation %q, want some of %s", op, strings.Join(opNames, ","))
		}
		ops[op] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ops = ops
	return nil
}

// wait returns when operation op may go on, or EINTR.
func (g *gate) wait(ctx context.Context, op string) syscall.Errno {
	g.mu.Lock()
	if !g.ops[op] || (g.delay == 0 && !g.hang) {
		g.mu.Unlock()
		return 0
	}
	g.waiting++
	released, interrupt := g.released, ctx.Done()
	if g.ignoreInterrupt {
		interrupt = nil
	}
	var elapsed <-chan time.Time // nil, and thus never, while hanging
	if !g.hang {
		timer := time.NewTimer(g.delay)
		defer timer.Stop()
		elapsed = timer.C
	}
	g.mu.Unlock()

	var errno syscall.Errno
	select {
	case <-released:
	case <-elapsed:
	case <-interrupt:
		errno = syscall.EINTR
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
	if errno == 0 {
		g.passed++
	} else {
		g.interrupted++
	}
	return errno
}

// command executes one line of the control file.
func (g *gate) command(line string) error {
	word, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
	if word == "ops" {
		return g.setOps(arg)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch word {
	case "delay":
		d, err := time.ParseDuration(arg)
		if err != nil {
			return err
		}
		g.delay, g.hang = d, false
	case "hang":
		g.hang = true
	case "release": // and no longer slow
		g.delay, g.hang = 0, false
		close(g.released)
		g.released = make(chan struct{})
	case "interrupt":
		if arg != "honour" && arg != "ignore" {
			return fmt.Errorf("interrupt %q, want honour or ignore", arg)
		}
		g.ignoreInterrupt = arg == "ignore"
	default:
		return fmt.Errorf("unknown command %q", word)
	}
	return nil
}

// status is what the control file says when read.
func (g *gate) status() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Sprintf("waiting %d\npassed %d\ninterrupted %d\n", g.waiting, g.passed, g.interrupted)
}
