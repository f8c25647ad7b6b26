package reactor

import "context"

// newLane starts the submitter of backings that block: io_uring_enter itself
// would block on them, so every operation goes to io-wq at once (IOSQE_ASYNC).
// io-wq hangs on the submitting thread, so one thread for all of them makes the
// number of workers a bound; a hung backing fills them and touches nothing else.
// Reads and writes of tasks may do without it; see [Workers].
func newLane(cfg Config, lockdown []Opcode) (*thread, error) {
	ringCfg := ringConfig{
		entries:     256,
		completions: 8192,
		flags:       threadRingFlags,
		optional:    threadRingOptional,
		workers:     laneWorkers(cfg.Workers),
		lockdown:    lockdown,
		newQueue:    cfg.newQueue,
	}
	return startThread(ringCfg, nil, func(t *thread) {
		for tries := 0; !t.turn(0, &tries); {
		}
	})
}

// laneWorkers gives transfers that many workers, and what else may block some of
// its own.
func laneWorkers(transfers int) workerBounds {
	return workerBounds{unbounded: transfers, bounded: max(transfers/8, 1)}
}

// submitter is the thread that hands an operation on a blocking backing to the
// kernel: the lane, but for the reads and writes of tasks that there are [Workers]
// for, of which it has one then.
func (r *Reactor) submitter(ctx context.Context, task *Task, op *Op) (*thread, error) {
	if task == nil || task.e.cfg.Blocking == nil || !op.transfers() {
		return r.slowLane()
	}
	if r.closed.Load() {
		return nil, ErrClosed
	}
	t, err := task.e.cfg.Blocking.acquire(ctx, task, r.patience(op))
	if err == nil {
		t.executor.serve(r)
	}
	return t, err
}
