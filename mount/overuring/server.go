package overuring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

const (
	// DefaultDepth is how many requests a CPU's queue holds at once. The
	// kernel keeps further ones, so on a backing that hangs this is how many
	// may hang before everything from that CPU does.
	DefaultDepth = 1024
	// queueEntries is the size of the rings' submission queues. What does not
	// fit goes out with another system call.
	queueEntries = 512
	// fewWorkers is how many of Workers a queue must have: with fewer most
	// requests would be handed on to another queue, one after the other.
	fewWorkers = 8
	// closeWait bounds how long the rings may take to hand back what a hung
	// backing holds.
	closeWait = time.Second
)

// Options say how a [Server] is set up. The zero value is good for most uses.
type Options struct {
	// Depth bounds the requests that a CPU's queue holds at once. 0:
	// DefaultDepth.
	Depth int
	// Memory bounds the buffers of all queues, in bytes, by lowering Depth to
	// no less than 1. A buffer takes memory once it has been used, and the
	// kernel uses the same few again and again. 0: a quarter of the machine's
	// memory.
	Memory int64
	// Workers bounds the kernel threads that carry reads and writes on a
	// backing that blocks. The queues share them; where there are too few for
	// that, the node tree's reactor has its own. 0: reactor.DefaultWorkers.
	Workers int
	// Log gets what an operator should know. nil: nothing is logged.
	Log *logrus.Entry
}

// Server serves one FUSE connection over io_uring.
type Server struct {
	opts      Options
	log       *logrus.Entry
	plan      plan
	executors []*reactor.Executor
	notifier  *notifier

	// Set by Start.
	raw      fuse.RawFileSystem
	protocol *fuse.ProtocolServer
	panicked func(value any) fuse.Status // what becomes of a panic of raw
	traced   bool                        // protocol logs requests, so it gets all of them
	fd       int                         // /dev/fuse
	payload  int                         // bytes of the largest request or reply
	arena    *arena
	queues   []*queue
	ringOn   bool
	refusal  string // why it is not

	early earlyInterrupts
	ended atomic.Bool // the connection

	readers  sync.WaitGroup
	requests sync.WaitGroup // from /dev/fuse
	room     chan struct{}  // one place for each of these
	buffers  sync.Pool      // of *[]byte, for /dev/fuse
}

// New sets up the rings and their threads. Then Start, or Close.
func New(o Options) (*Server, error) {
	if o.Depth <= 0 {
		o.Depth = DefaultDepth
	}
	if o.Memory <= 0 {
		o.Memory = machineMemory() / 4
	}
	if o.Workers <= 0 {
		o.Workers = reactor.DefaultWorkers
	}
	s := &Server{opts: o, log: o.Log, fd: -1, notifier: newNotifier(), room: make(chan struct{}, maxDeviceRequests)}
	if s.log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		s.log = logrus.NewEntry(l)
	}
	var err error
	if s.plan, err = hostPlan(); err != nil {
		return nil, fmt.Errorf("find the CPUs: %w", err)
	}
	var workers *reactor.Workers
	if o.Workers >= fewWorkers*len(s.plan.pins) {
		workers = reactor.NewWorkers(o.Workers, len(s.plan.pins))
	}
	for _, cpu := range s.plan.pins {
		e, err := reactor.NewExecutor(reactor.ExecutorConfig{
			Entries:       queueEntries,
			Blocking:      workers,
			Commands:      true,
			Interrupts:    true,
			KeepProcessor: true,
			Setup:         func(*reactor.Executor) error { return pin(cpu) },
		})
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.executors = append(s.executors, e)
	}
	return s, nil
}

// pin keeps the calling thread on that CPU, where the requests of its queue are
// made. Where it may not run (a cpuset) it serves from elsewhere.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("pin thread to CPU %d: %w", cpu, err)
	}
	return nil
}

// Callbacks are for the options that the node tree of Start is made with: they
// carry its notifications.
func (s *Server) Callbacks() fusefs.ServerCallbacks { return s.notifier }

// Close gives the rings back, of a Server that was not started or whose Serve
// has returned. What hangs on a backing for longer than a second is left behind,
// and an error tells of it.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(s.executors))
	for i, e := range s.executors {
		wg.Go(func() { errs[i] = e.Shutdown(ctx) })
	}
	wg.Wait()
	s.executors = nil
	return errors.Join(errs...)
}

// Start takes over a fresh connection, of which nothing has been read: it
// answers INIT and hands the buffers to the kernel. It owns fd, an open
// /dev/fuse, from then on, also when it fails.
//
// Where the kernel refuses the ring the connection is served over /dev/fuse all
// the same; see Ring.
func (s *Server) Start(fd int, raw fuse.RawFileSystem, o *fuse.MountOptions) error {
	opts := *o
	opts.ExtraCapabilities |= fuse.CAP_OVER_IO_URING
	if opts.PanicHandler == nil {
		opts.PanicHandler = s.logPanic
	}
	s.fd, s.raw, s.panicked, s.traced = fd, raw, opts.PanicHandler, opts.Debug
	s.protocol = fuse.NewProtocolServer(raw, &opts)
	if err := s.handshake(); err != nil {
		return errors.Join(err, unix.Close(fd), s.Close())
	}
	if s.refusal == "" {
		s.refusal = s.register()
		s.ringOn = s.refusal == ""
	}
	readers := deviceReaders
	if !s.ringOn {
		readers = max(deviceReaders, runtime.GOMAXPROCS(0))
	}
	for range readers {
		s.readers.Go(s.readDevice) // ends with the connection; Serve waits
	}
	return nil
}

// logPanic is the PanicHandler where the caller has none.
func (s *Server) logPanic(value any) fuse.Status {
	s.log.WithFields(logrus.Fields{"panic": value, "stack": string(debug.Stack())}).Error("the file system panicked")
	return fuse.EIO
}

// Ring reports whether requests come over the ring, and why if they do not.
// For after Start.
func (s *Server) Ring() (on bool, refusal string) { return s.ringOn, s.refusal }

// handshake answers INIT. The buffers are there before: a mount that has taken
// the offer and does not use it hangs every request.
func (s *Server) handshake() error {
	buf := make([]byte, 64<<10)
	n, err := unix.Read(s.fd, buf)
	for errors.Is(err, syscall.EINTR) {
		n, err = unix.Read(s.fd, buf)
	}
	if err != nil {
		return fmt.Errorf("read INIT: %w", err)
	}
	if n < inHeaderSize || header(buf).opcode() != opInit {
		return fmt.Errorf("the connection does not begin with INIT")
	}
	out := make([]byte, 256)
	n, _ = s.protocol.HandleRequest([][]byte{buf[:n]}, [][]byte{out})
	reply := initReply(out[:n])
	if n < outHeaderSize {
		return errors.New("INIT was not answered")
	}
	if body := reply.body(); body != nil {
		if s.refusal = s.prepare(body); s.refusal != "" {
			body.Flags2 &^= ringOffer
		}
		s.notifier.open(s.fd, int(body.MaxWrite))
	}
	if _, err := unix.Write(s.fd, reply); err != nil {
		return fmt.Errorf("answer INIT: %w", err)
	}
	if status := reply.status(); status != 0 {
		return fmt.Errorf("INIT: %w", syscall.Errno(-status))
	}
	return nil
}

// prepare makes the queues for what INIT has settled. It returns why the offer
// cannot be taken, "" if it can.
func (s *Server) prepare(o *fuse.InitOut) (refusal string) {
	s.payload = payloadSize(o)
	switch {
	case o.Flags2&ringOffer == 0:
		return "the kernel does not offer it to this connection"
	case o.MaxWrite < MinMaxWrite || s.payload < MinMaxWrite:
		return fmt.Sprintf("max_write of %d bytes is below %d", o.MaxWrite, MinMaxWrite)
	}
	depths, err := s.allot()
	if err != nil {
		return err.Error()
	}
	first := 0
	for id, depth := range depths {
		s.queues = append(s.queues, newQueue(s, id, s.executors[s.plan.serves[id]], first, depth))
		first += depth
	}
	s.log.WithFields(logrus.Fields{"queues": len(s.queues), "depth": depths[0], "buffer": s.payload}).Debug("ring prepared")
	return ""
}

// allot maps the arena and says how many entries of it each queue gets. Where
// memory is not to be had for all (vm.overcommit_memory=2) it is fewer.
func (s *Server) allot() (depths []int, err error) {
	for depth := s.opts.Depth; depth > 0; depth /= 2 {
		depths = s.plan.depths(depth, s.payload, s.opts.Memory)
		entries := 0
		for _, n := range depths {
			entries += n
		}
		if s.arena, err = newArena(entries, s.payload); err == nil {
			return depths, nil
		}
	}
	return nil, err
}

// machineMemory is in bytes.
func machineMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 4 << 30
	}
	return int64(uint64(info.Totalram) * uint64(info.Unit))
}

// register hands all entries to the kernel. It returns why that was refused.
func (s *Server) register() (refusal string) {
	for _, e := range s.executors {
		failed := make(chan error, 1) // the one result
		err := e.Spawn(func(task *reactor.Task) {
			if err := e.RegisterFiles(s.fd); err != nil {
				failed <- err
				return
			}
			for _, q := range s.queues {
				if q.executor == e {
					q.register()
				}
			}
			task.Yield() // submits them; refusals are there at once
			for _, q := range s.queues {
				if q.executor == e && q.refused != 0 {
					failed <- fmt.Errorf("the kernel refuses queue %d: %w", q.id, q.refused)
					return
				}
			}
			failed <- nil
		})
		if err == nil {
			err = <-failed
		}
		if err != nil {
			return err.Error()
		}
	}
	return ""
}

// Serve returns when the connection has ended and every request that was taken
// from it has been answered or dropped. It closes the connection.
func (s *Server) Serve() {
	s.readers.Wait() // /dev/fuse tells the end first
	s.notifier.close()
	s.interruptAll()
	for _, q := range s.queues {
		if q.entries[0].command != nil { // registered
			<-q.done
		}
	}
	s.requests.Wait()
	if err := s.Close(); err != nil {
		s.log.WithError(err).Error("the rings did not close")
	}
	if err := unix.Close(s.fd); err != nil {
		s.log.WithError(err).Error("close /dev/fuse")
	}
	if s.arena != nil {
		if err := s.arena.close(); err != nil {
			s.log.WithError(err).Error("unmap the buffers")
		}
	}
	s.raw.OnUnmount()
}
