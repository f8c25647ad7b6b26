package reactor

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	sys "github.com/iceber/iouring-go/syscall"
)

// ExecutorConfig is what an [Executor] is made with. The zero value is good for
// most uses.
type ExecutorConfig struct {
	// Entries is the size of the submission queue: so many operations go out
	// with one system call at most. 0: 256.
	Entries int

	// Workers bounds the kernel threads (io-wq) for punted operations, as
	// [Config.RingWorkers] does. 0: 8.
	Workers int

	// Blocking are the workers for reads and writes on blocking backings that
	// this executor shares with others. nil: it has none.
	Blocking *Workers

	// Commands gives the ring the 128-byte entries that [Command] needs.
	Commands bool

	// Lockdown restricts the ring to the operations of this package, those of
	// a [Command] included if there are any. See [Config.Lockdown].
	Lockdown bool

	// Interrupts promises that [Task.Interrupt] is called when the context of
	// something a task waits for ends. Contexts are not watched then, which
	// costs a goroutine for each wait.
	Interrupts bool

	// KeepProcessor has the thread keep its place among Go's running threads
	// (its P) while it waits for completions, as long as some come every 10 ms.
	// Otherwise Go's monitor takes the place of a busy executor away and gives
	// it back thousands of times a second, which can cost a tenth of its time.
	// The executor raises GOMAXPROCS by one for as long as it lives, so that
	// nobody misses the place.
	KeepProcessor bool

	// Panicked is told of each task that panicked, on the executor's thread.
	// nil: [Executor.Run] returns the panics.
	Panicked func(*PanicError)

	// Setup runs on the executor's thread before anything else does there. If
	// it ends by runtime.Goexit there is no executor either.
	Setup func(*Executor) error

	// newQueue replaces the kernel's ring in tests.
	newQueue func(ringConfig) (queue, error)
}

// PanicError is the panic of a task, which ended that task and no other.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("reactor: task panicked: %v", e.Value) }

// Executor runs tasks on one thread with one ring. A task that waits gives the
// thread to the next (a switch of some 100 ns that the Go scheduler knows
// nothing of), and all that the tasks want done is submitted with one
// io_uring_enter. Its methods are safe for concurrent use unless they say
// otherwise.
//
// Blocking calls of this package ([File.ReadAt], [Reactor.Block] and the like)
// wait in this way by themselves when a task makes them. Anything else that
// blocks, such as a mutex, holds the thread and all its tasks: a task must not
// wait while it holds a lock that another task of its executor takes.
type Executor struct {
	cfg ExecutorConfig
	t   *thread

	// Only touched on the thread.
	current  *Task
	resting  []*Task // coroutines without a task
	batch    []*Task // being resumed in this round
	starting []func(*Task)
	started  int // of these
	pending  int // of batch and starting, not yet resumed
	over     int // tasks that are, and still counted in tasks
	sleepers sleepers
	commands []*Command
	arrived  []arrival // to be told
	leaving  bool      // the loop is over

	// served are the reactors whose statistics count this executor's operations.
	// It is replaced, with servedMu held, until gone.
	served   atomic.Pointer[[]*Reactor]
	servedMu sync.Mutex
	gone     bool

	// mu guards everything below. It is a leaf: any lock may be held when it
	// is taken.
	mu      sync.Mutex
	ready   []*Task       // to be resumed, oldest first
	spawned []func(*Task) // to be started, oldest first
	tasks   int           // spawned and not over
	none    sync.Cond
	panics  []error
	ended   bool        // the thread is gone
	closed  atomic.Bool // takes no new task; only written with mu held

	coroutines []*Task // with a task and without
}

const (
	// maxResting bounds the coroutines kept for reuse; each holds a stack.
	maxResting = 256
	// maxPanics bounds the panics that Run returns.
	maxPanics = 16
)

// NewExecutor starts a thread with a ring of its own. Its errors are *SetupError
// or those of cfg.Setup. Close it to give both back.
func NewExecutor(cfg ExecutorConfig) (*Executor, error) {
	if cfg.Entries <= 0 {
		cfg.Entries = 256
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 8
	}
	e := &Executor{cfg: cfg}
	e.served.Store(new([]*Reactor))
	e.none.L = &e.mu
	ringCfg := ringConfig{
		entries:     uint32(cfg.Entries),
		completions: uint32(max(4*cfg.Entries, 4096)),
		flags:       threadRingFlags,
		optional:    threadRingOptional,
		workers:     cfg.Blocking.bounds(cfg.Workers),
		bigEntries:  cfg.Commands,
		keep:        e.keeps(),
		newQueue:    cfg.newQueue,
	}
	if cfg.Lockdown {
		ringCfg.lockdown = fileOps
		if cfg.Commands {
			ringCfg.lockdown = append(slices.Clone(fileOps), Opcode(sys.IORING_OP_URING_CMD))
		}
	}
	_, err := startThread(ringCfg, e.setup, e.loop)
	if err != nil {
		return nil, err
	}
	if cfg.Blocking != nil {
		cfg.Blocking.join(e)
	}
	return e, nil
}

// setup runs on the thread.
func (e *Executor) setup(t *thread) error {
	e.t, t.executor = t, e
	if w := e.cfg.Blocking; w != nil {
		t.room = w.room
	}
	t.ready, t.live = e.hasReady, e.unfinished
	t.onTag = e.tagged
	if e.cfg.Setup != nil {
		return e.cfg.Setup(e)
	}
	return nil
}

// Spawn starts fn as a task, from any goroutine. The task's name for itself is
// valid until fn returns.
func (e *Executor) Spawn(fn func(*Task)) error {
	e.mu.Lock()
	if e.closed.Load() {
		e.mu.Unlock()
		return ErrClosed
	}
	e.spawnLocked(fn)
	e.mu.Unlock()
	e.t.wakeUp()
	return nil
}

// start is Spawn on the thread, where it also serves an executor that is being
// closed.
func (e *Executor) start(fn func(*Task)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.spawnLocked(fn)
}

// spawnLocked is for who holds mu.
func (e *Executor) spawnLocked(fn func(*Task)) {
	e.spawned = append(e.spawned, fn)
	e.tasks++
}

// Run waits until every task is over, those that tasks spawn included. It
// returns what panicked since the last Run, as *PanicError joined. A task must
// not call it.
func (e *Executor) Run() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.tasks > 0 && !e.ended {
		e.none.Wait()
	}
	err := errors.Join(e.panics...)
	e.panics = nil
	if e.tasks > 0 {
		err = errors.Join(err, ErrClosed)
	}
	return err
}

// Close refuses new tasks and operations, cancels the operations in flight and
// ends sleeps, waits until all tasks are over and gives thread and ring back. A
// task must not call it. It is [Executor.Shutdown] without a limit in time.
func (e *Executor) Close() error { return e.Shutdown(context.Background()) }

// Shutdown is Close until ctx ends. Then it returns the error of ctx and leaves
// the thread and its ring to what hangs there, until that ends.
func (e *Executor) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	again := e.closed.Swap(true)
	for _, task := range e.coroutines {
		task.wakeLocked()
	}
	e.mu.Unlock()
	if !again {
		e.t.stopAll()
	}
	select {
	case <-e.t.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	if again {
		return ErrClosed
	}
	return nil
}

// RegisterFiles makes fds known to the ring by their index, as [Command] wants
// them. They must stay open. For Setup, once.
func (e *Executor) RegisterFiles(fds ...int) error {
	list := make([]int32, len(fds))
	for i, fd := range fds {
		list[i] = int32(fd)
	}
	return e.t.q.registerFiles(list)
}

func (e *Executor) hasReady() bool {
	if len(e.arrived) > 0 {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.ready)+len(e.spawned) > 0
}

func (e *Executor) unfinished() bool {
	if len(e.arrived) > 0 {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tasks > 0
}

// loop is the thread's.
func (e *Executor) loop(t *thread) {
	executors.Add(1)
	defer e.end()
	if e.keeps() {
		addProcessors(1)
		defer addProcessors(-1)
	}
	e.rounds(t)
}

// rounds runs the tasks until all is over. A task that ends by runtime.Goexit, as
// those of tests do in FailNow, has iter.Pull end this goroutine too: the rounds
// go on in its deferred calls then.
func (e *Executor) rounds(t *thread) {
	defer func() {
		if e.current != nil && e.current.exited {
			e.takeOut(e.current)
			e.current = nil
			e.putBack()
			e.countOver()
			e.rounds(t)
		}
	}()
	for tries, over := 0, false; !over; over = t.turn(e.sleepers.next(), &tries) {
		e.tellCommands()
		e.sleepers.wake()
		e.runReady()
	}
}

// serve makes the executor's operations count in the statistics of r, whose files
// it is about to have operations of.
func (e *Executor) serve(r *Reactor) {
	if slices.Contains(*e.served.Load(), r) {
		return
	}
	e.servedMu.Lock()
	defer e.servedMu.Unlock()
	served := *e.served.Load()
	if e.gone || slices.Contains(served, r) {
		return
	}
	served = append(slices.Clone(served), r)
	e.served.Store(&served)
	r.laneMu.Lock()
	r.executors = append(r.executors, e)
	r.laneMu.Unlock()
}

// end runs when the thread is done.
func (e *Executor) end() {
	executors.Add(-1)
	if e.cfg.Blocking != nil {
		e.cfg.Blocking.leave(e)
	}
	e.servedMu.Lock()
	e.gone = true
	e.servedMu.Unlock()
	for _, r := range *e.served.Load() {
		r.laneMu.Lock()
		r.executors = slices.DeleteFunc(r.executors, func(other *Executor) bool { return other == e })
		var s Stats
		e.t.addTo(&s)
		r.past.addCounters(&s)
		r.laneMu.Unlock()
	}
	e.leaving = true
	for _, task := range e.resting {
		task.stop()
	}
	e.mu.Lock()
	e.closed.Store(true)
	e.ended = true
	e.none.Broadcast()
	e.mu.Unlock()
}

// runReady resumes, once each, the tasks that are ready now, and starts those that
// were spawned. What they make ready waits for the next round, so that submission
// is never put off for long.
func (e *Executor) runReady() {
	e.mu.Lock()
	e.batch, e.ready = e.ready, e.batch[:0]
	e.starting, e.spawned = e.spawned, e.starting[:0]
	e.mu.Unlock()
	e.pending, e.started = len(e.batch)+len(e.starting), 0
	for i, task := range e.batch {
		e.batch[i] = nil
		e.pending--
		e.resume(task)
	}
	for e.started < len(e.starting) {
		e.resume(e.coroutine())
	}
	e.countOver()
}

// nextStart is the next function to be run as a task, or nil.
func (e *Executor) nextStart() func(*Task) {
	if e.started == len(e.starting) {
		return nil
	}
	fn := e.starting[e.started]
	e.starting[e.started] = nil
	e.started++
	e.pending--
	return fn
}

// resume runs task, and those that its coroutine goes on with, until one waits or
// there are no more.
func (e *Executor) resume(task *Task) {
	e.current = task
	task.next()
	e.current = nil
	switch {
	case task.busy:
	case len(e.resting) < maxResting:
		e.resting = append(e.resting, task)
	default:
		e.takeOut(task)
		task.stop()
	}
}

// putBack makes ready what runReady has not come to.
func (e *Executor) putBack() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, task := range e.batch {
		if task != nil {
			e.ready = append(e.ready, task)
		}
	}
	for fn := e.nextStart(); fn != nil; fn = e.nextStart() {
		e.spawned = append(e.spawned, fn)
	}
}

// countOver takes the tasks that are over off the count.
func (e *Executor) countOver() {
	if e.over == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tasks -= e.over
	e.over = 0
	if e.tasks == 0 {
		e.none.Broadcast()
	}
}

// coroutine is one without a task.
func (e *Executor) coroutine() *Task {
	if last := len(e.resting) - 1; last >= 0 {
		task := e.resting[last]
		e.resting = e.resting[:last]
		return task
	}
	task := newTask(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	task.place, e.coroutines = len(e.coroutines), append(e.coroutines, task)
	return task
}

// takeOut forgets a coroutine that ends.
func (e *Executor) takeOut(task *Task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	last := e.coroutines[len(e.coroutines)-1]
	last.place, e.coroutines[task.place] = task.place, last
	e.coroutines[len(e.coroutines)-1] = nil
	e.coroutines = e.coroutines[:len(e.coroutines)-1]
}

// panicked reports the panic that a task recovered from.
func (e *Executor) panicked(value any) {
	err := &PanicError{Value: value, Stack: debug.Stack()}
	if e.cfg.Panicked != nil {
		e.cfg.Panicked(err)
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.panics) < maxPanics {
		e.panics = append(e.panics, err)
	}
}

// alone reports whether no other task is about to run, so that there is nothing
// to wait for before submitting.
func (e *Executor) alone() bool { return e.pending == 0 && !e.hasReady() }
