package reactor

import (
	"context"
	"errors"
	"time"
)

// patience is [Config.Patience] for one operation; the zero value has none.
type patience struct {
	ask  func(ctx context.Context, op Opcode, waited time.Duration) (again time.Duration)
	code Opcode
}

func (r *Reactor) patience(op *Op) patience { return patience{r.cfg.Patience, op.Code} }

// left is how long to wait before the next question; 0: no more.
func (p patience) left(ctx context.Context, waited time.Duration) time.Duration {
	if p.ask == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return 0
	}
	return p.ask(ctx, p.code, waited)
}

// wait receives from over, or returns false when ctx has ended and no patience
// is left.
func (p patience) wait(ctx context.Context, over <-chan struct{}) bool {
	select {
	case <-over:
		return true
	case <-ctx.Done():
	}
	for waited := time.Duration(0); ; {
		again := p.left(ctx, waited)
		if again <= 0 {
			return false
		}
		select {
		case <-over:
			return true
		case <-time.After(again):
			waited += again
		}
	}
}

// waitTask is wait for task t, which whoever makes over true unparks.
func (p patience) waitTask(ctx context.Context, t *Task, over func() bool) bool {
	for waited := time.Duration(0); !t.until(ctx, over); {
		again := p.leftAside(ctx, t, waited)
		if again <= 0 {
			return false
		}
		t.sleep(again, over)
		waited += again
	}
	return true
}

// leftAside is left off the thread of t, which the question may block.
func (p patience) leftAside(ctx context.Context, t *Task, waited time.Duration) (again time.Duration) {
	if p.ask != nil {
		t.aside(func() { again = p.left(ctx, waited) })
	}
	return again
}
