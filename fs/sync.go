package fs

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

// DefaultSyncWorkers is how many calls of a [SyncIO] may block at once by
// default. Each occupies a thread of the process.
const DefaultSyncWorkers = 256

// SyncIO is an [IO] of ordinary blocking system calls, for hosts that forbid
// io_uring and for comparison with it. Calls beyond its bound wait their turn.
// What it cannot do is give up: a call that blocks in the backing is over when
// the backing says so.
type SyncIO struct {
	turns chan struct{} // as many as calls may block at once

	completed    atomic.Uint64
	bytesRead    atomic.Uint64
	bytesWritten atomic.Uint64
	waiting      atomic.Int64
}

// NewSyncIO returns a SyncIO of that many calls at once; 0 means
// [DefaultSyncWorkers].
func NewSyncIO(workers int) *SyncIO {
	if workers <= 0 {
		workers = DefaultSyncWorkers
	}
	return &SyncIO{turns: make(chan struct{}, workers)}
}

// SyncStats is a reading of a [SyncIO]. Counters only grow.
type SyncStats struct {
	Completed    uint64 `json:"completed"` // calls that have ended
	BytesRead    uint64 `json:"bytes_read"`
	BytesWritten uint64 `json:"bytes_written"`
	InFlight     int    `json:"in_flight"` // calls in the kernel
	Waiting      int    `json:"waiting"`   // callers waiting for their turn
	Workers      int    `json:"workers"`   // the bound
}

// Stats returns a snapshot, safe at any time.
func (s *SyncIO) Stats() SyncStats {
	return SyncStats{
		Completed:    s.completed.Load(),
		BytesRead:    s.bytesRead.Load(),
		BytesWritten: s.bytesWritten.Load(),
		InFlight:     len(s.turns),
		Waiting:      int(s.waiting.Load()),
		Workers:      cap(s.turns),
	}
}

var _ IO = (*SyncIO)(nil)

// Open puts fd under the care of s.
func (s *SyncIO) Open(fd int) (File, error) { return &syncFile{io: s, fd: fd}, nil }

// Block runs fn: the Go runtime finds another thread for the others.
func (s *SyncIO) Block(fn func()) { fn() }

// Wait runs fn.
func (s *SyncIO) Wait(fn func()) { fn() }

// waitTurn takes a place among turns, unless the caller gives up before.
func (s *SyncIO) waitTurn(ctx context.Context, op reactor.Opcode) bool {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	select {
	case s.turns <- struct{}{}:
		return true
	case <-ctx.Done():
	}
	for waited := time.Duration(0); ; {
		again := Patience(ctx, op, waited)
		if again == 0 {
			return false
		}
		select {
		case s.turns <- struct{}{}:
			return true
		case <-time.After(again):
			waited += again
		}
	}
}

// syncFile counts its calls, so that Close cannot let the number of a
// descriptor in use go to another file.
type syncFile struct {
	io *SyncIO
	fd int

	mu     sync.Mutex // guards what follows
	calls  int
	closed bool
}

// call runs fn when its turn comes. A caller that is interrupted before that, and
// has no [Patience], gets EINTR.
func (f *syncFile) call(ctx context.Context, op reactor.Opcode, fn func() error) error {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return syscall.EBADF
	}
	f.calls++
	f.mu.Unlock()
	defer f.end()

	select {
	case f.io.turns <- struct{}{}:
	default:
		if !f.io.waitTurn(ctx, op) {
			return syscall.EINTR
		}
	}
	defer func() { <-f.io.turns }()
	defer f.io.completed.Add(1)
	return fn()
}

func (f *syncFile) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls--
	if f.closed && f.calls == 0 {
		unix.Close(f.fd)
	}
}

// ReadAt implements [File].
func (f *syncFile) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	err = f.call(ctx, reactor.OpRead, func() error {
		n, err = transfer(p, func(p []byte, done int) (int, error) { return unix.Pread(f.fd, p, off+int64(done)) })
		f.io.bytesRead.Add(uint64(n))
		return err
	})
	return n, err
}

// WriteAt implements [File].
func (f *syncFile) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	err = f.call(ctx, reactor.OpWrite, func() error {
		n, err = transfer(p, func(p []byte, done int) (int, error) { return unix.Pwrite(f.fd, p, off+int64(done)) })
		f.io.bytesWritten.Add(uint64(n))
		if err == nil && n < len(p) {
			return syscall.EIO
		}
		return err
	})
	return n, err
}

// transfer repeats step until p is done, step moves nothing, or it fails.
func transfer(p []byte, step func(p []byte, done int) (int, error)) (int, error) {
	done := 0
	for done < len(p) {
		n, err := step(p[done:], done)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return done, err
		case n == 0:
			return done, nil
		}
		done += n
	}
	return done, nil
}

// Fsync implements [File].
func (f *syncFile) Fsync(ctx context.Context, datasync bool) error {
	return f.call(ctx, reactor.OpFsync, func() error {
		if datasync {
			return unix.Fdatasync(f.fd)
		}
		return unix.Fsync(f.fd)
	})
}

// Fallocate implements [File].
func (f *syncFile) Fallocate(ctx context.Context, mode uint32, off, length int64) error {
	return f.call(ctx, reactor.OpFallocate, func() error { return unix.Fallocate(f.fd, mode, off, length) })
}

// Fd implements [File].
func (f *syncFile) Fd() int { return f.fd }

// Close implements [File].
func (f *syncFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return syscall.EBADF
	}
	f.closed = true
	if f.calls == 0 {
		return unix.Close(f.fd)
	}
	return nil
}
