package mount

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// An Outcome says how a mount ended.
type Outcome int

const (
	// Clean: nobody used the mount any more when it was taken off.
	Clean Outcome = iota
	// Lazy: the mount left the tree while in use, and its users finished.
	Lazy
	// Aborted: users were cut off, be it in a request or with open files.
	Aborted
)

func (o Outcome) String() string {
	switch o {
	case Clean:
		return "clean"
	case Lazy:
		return "lazy"
	case Aborted:
		return "aborted"
	}
	return fmt.Sprintf("Outcome(%d)", int(o))
}

const (
	// busyPoll is how often a busy mount is tried again: the kernel has no
	// event for "not busy any more".
	busyPoll = 50 * time.Millisecond
	// busyReport is how often a busy mount's users are logged.
	busyReport = 2 * time.Second
	// abortWait bounds the wait for the server once nothing more comes from
	// the kernel. A request that hangs in the backing directory can outlast
	// any wait.
	abortWait = 2 * time.Second
)

// Unmount takes the mount off in three steps, as gently as its users allow:
// an ordinary unmount, tried for s.Drain while it is busy; a lazy one, whose
// remaining users get s.Lazy; an abort of the connection. Each step is logged
// with what is still waiting. It returns when the server has ended, with an
// error only if even the abort did not end it.
//
// A mount that somebody else took off counts as Clean.
func (m *Mount) Unmount(s Stages) (Outcome, error) {
	m.unmounting.Lock()
	defer m.unmounting.Unlock()
	if m.ended() {
		return m.outcome, nil
	}
	if s.Drain == 0 {
		s.Drain = DefaultDrain
	}
	if s.Lazy == 0 {
		s.Lazy = DefaultLazy
	}
	m.outcome = Clean
	if !m.drain(s) {
		m.outcome = Lazy
		m.report("still busy, unmounting lazily")
		if err := m.detachOwn(true); err != nil {
			m.log.WithError(err).Warn("lazy unmount refused")
		}
	}
	wait := s.Lazy
	if m.outcome == Clean {
		// Nobody is left, unless in another mount namespace: the server
		// only has to notice.
		wait = max(wait, abortWait)
	}
	if m.waitServed(wait, s.Hurry) {
		m.log.WithFields(logrus.Fields{"mountpoint": m.info.Mountpoint, "outcome": m.outcome}).Info("unmounted")
		return m.outcome, m.release()
	}
	m.outcome = Aborted
	m.report("still in use, aborting the connection")
	// A connection that is gone by now has ended by itself.
	if err := Abort(m.info.Device); err != nil && !errors.Is(err, os.ErrNotExist) {
		return m.outcome, errors.Join(err, m.release())
	}
	if !m.waitServed(abortWait, nil) {
		return m.outcome, errors.Join(errors.New("requests still hang in the backing directory after the abort"), m.release())
	}
	return m.outcome, m.release()
}

// drain unmounts, waiting for a busy mount up to s.Drain. It returns false when
// the mount is still there.
func (m *Mount) drain(s Stages) bool {
	deadline := time.NewTimer(max(s.Drain, 0))
	defer deadline.Stop()
	poll := time.NewTicker(busyPoll)
	defer poll.Stop()
	var reported time.Time
	for {
		err := m.detachOwn(false)
		if err == nil {
			return true
		}
		if !errors.Is(err, unix.EBUSY) {
			m.log.WithError(err).Warn("unmount refused")
			return false
		}
		if s.Drain < 0 {
			return false
		}
		if time.Since(reported) > busyReport {
			reported = time.Now()
			m.report("mount is busy, waiting")
		}
		select {
		case <-m.served:
			return true
		case <-deadline.C:
			return false
		case <-s.Hurry:
			return false
		case <-poll.C:
		}
	}
}

// detachOwn unmounts if the uppermost mount at our mountpoint is ours, so that
// nobody else's is taken off in its place.
func (m *Mount) detachOwn(lazy bool) error {
	top, ok, err := At(m.info.Mountpoint)
	if err != nil {
		return err
	}
	if !ok {
		return nil
	}
	if top.ID != m.info.ID {
		return fmt.Errorf("another mount (%s of %s) covers %q", top.Type, top.Source, m.info.Mountpoint)
	}
	return m.detach(m.info.Mountpoint, lazy)
}

func (m *Mount) detach(mountpoint string, lazy bool) error {
	if m.direct {
		return detachKernel(mountpoint, lazy)
	}
	return detachFusermount(mountpoint, lazy)
}

func (m *Mount) ended() bool {
	select {
	case <-m.served:
		return true
	default:
		return false
	}
}

// waitServed waits for the server to end, and returns whether it did.
func (m *Mount) waitServed(d time.Duration, hurry <-chan struct{}) bool {
	if d < 0 {
		return m.ended()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-m.served:
		return true
	case <-t.C:
	case <-hurry:
	}
	return m.ended()
}

// report logs who and what the unmount still waits for.
func (m *Mount) report(message string) {
	fields := logrus.Fields{"mountpoint": m.info.Mountpoint}
	if n, err := Waiting(m.info.Device); err == nil {
		fields["requests"] = n
	}
	if held := Holders(m.info); len(held) > 0 {
		fields["held_by"] = held
	}
	m.log.WithFields(fields).Warn(message)
}

// release lets a watching fusermount3 go.
func (m *Mount) release() error {
	if m.keep == nil {
		return nil
	}
	keep := m.keep
	m.keep = nil
	return keep.Close()
}

// Detach takes the uppermost mount off the absolute path mountpoint, lazily on
// request. Without the privilege for umount2(2) it asks fusermount3.
// A busy mount gives EBUSY.
func Detach(mountpoint string, lazy bool) error {
	if canMount() {
		return detachKernel(mountpoint, lazy)
	}
	return detachFusermount(mountpoint, lazy)
}

func detachKernel(mountpoint string, lazy bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if lazy {
		flags |= unix.MNT_DETACH
	}
	if err := unix.Unmount(mountpoint, flags); err != nil {
		return fmt.Errorf("unmount %q: %w", mountpoint, err)
	}
	return nil
}
