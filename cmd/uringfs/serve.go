package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	sdnotify "github.com/coreos/go-systemd/v22/daemon"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/confine"
	"github.com/uringfs/uringfs/cmd/uringfs/internal/control"
	"github.com/uringfs/uringfs/cmd/uringfs/internal/daemon"
	"github.com/uringfs/uringfs/cmd/uringfs/internal/logging"
	"github.com/uringfs/uringfs/cmd/uringfs/internal/option"
	"github.com/uringfs/uringfs/mount"
)

// shutdownWait bounds how long the rings may take to hand back what a hung
// backing directory still holds, after the mount is gone.
const shutdownWait = 2 * time.Second

// mount mounts and serves, or has the background process do so.
func (f *mountFlags) mount(s *option.Settings, args []string, child *daemon.Child) error {
	source, mountpoint, err := checkArgs(args)
	if err != nil {
		return err
	}
	if s.Remount {
		return mount.Remount(mountpoint, s.Mount)
	}
	if !f.foreground && child == nil {
		return inBackground()
	}
	if f.control != controlAuto && f.control != controlNone {
		// The process changes its directory before long.
		if f.control, err = filepath.Abs(f.control); err != nil {
			return fmt.Errorf("--control: %w", err)
		}
	}
	f.log.Background = child != nil
	log, err := logging.Open(f.log)
	if err != nil {
		return usageError("name a file in a directory that exists and may be written to, or leave --log-file out", "%w", err)
	}
	return (&session{settings: s, source: source, mountpoint: mountpoint, control: f.control, log: log, child: child}).run()
}

// What --control may be beside a path.
const (
	controlAuto = "auto"
	controlNone = "none"
)

// A session is one mount from start to end.
type session struct {
	settings           *option.Settings
	source, mountpoint string
	control            string
	log                *logging.Log
	child              *daemon.Child // nil in the foreground

	signals chan os.Signal
	hangup  bool // SIGHUP means that our terminal has gone
	began   time.Time
	backend *backend
	mount   *mount.Mount
	socket  *control.Server
}

// run mounts, serves until a signal or an unmount, and cleans up.
func (s *session) run() error {
	// Files get the modes their creators ask for: the kernel has applied
	// their umask already.
	unix.Umask(0)
	// A reader of our log that goes away must not take the mount with it.
	signal.Ignore(unix.SIGPIPE)
	s.hangup = s.child == nil && !s.log.HasFile() && onTerminal() && !signal.Ignored(unix.SIGHUP)
	s.signals = make(chan os.Signal, 8) // so that none is lost meanwhile
	signal.Notify(s.signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1)
	defer signal.Stop(s.signals)
	if err := raiseNoFile(); err != nil {
		s.log.WithError(err).Warn("the limit of open files stays as it is")
	}
	if err := s.start(); err != nil {
		return err
	}
	err := s.confine()
	if err == nil {
		err = s.ready()
	}
	if err != nil {
		s.end(s.mount.Unmount(s.settings.Stages)) // which logs its own failures
		return err
	}
	return s.end(s.serve())
}

// start brings everything up to the usable mount.
func (s *session) start() error {
	o := s.settings.Mount
	o.Source, o.Log = s.source, logrus.NewEntry(s.log.Logger)
	if err := mount.Check(s.source, s.mountpoint, o); err != nil {
		return err
	}
	if s.settings.Tree.Passthrough && !mount.Privileged() {
		return &failure{code: exitPrivilege, err: errors.New("passthrough: the kernel lends files of SOURCE to root's mounts alone"),
			hint: "leave passthrough out, or mount as root"}
	}
	// The process changes its directory before long.
	source, err := mount.Resolve(s.source)
	if err != nil {
		return fmt.Errorf("resolve source: %w", err)
	}
	s.source, o.Source = source, source
	if s.settings.Engine == option.EngineSync {
		// The other transport lives on rings.
		o.Transport = mount.TransportDev
	}
	if err := s.openControl(); err != nil {
		return err
	}
	if s.backend, err = openBackend(s.source, s.settings, o.Log); err != nil {
		return errors.Join(err, s.socket.Close())
	}
	if s.interrupted() {
		err = errInterrupted
	} else {
		s.mount, err = mount.New(s.backend.tree, s.mountpoint, o)
	}
	if err != nil {
		return errors.Join(err, s.backend.Close(context.Background()), s.socket.Close())
	}
	s.began = time.Now()
	s.nameControl()
	if transport, _ := s.mount.Transport(); transport == mount.TransportUring && os.Getenv("GOMAXPROCS") == "" {
		moreProcessors()
	}
	return nil
}

// openControl opens the socket for "uringfs stats" that --control names, if it
// names one.
func (s *session) openControl() (err error) {
	if s.control == controlAuto || s.control == controlNone {
		return nil
	}
	if control.Alive(s.control) {
		return usageError("choose another path", "--control=%s: another process listens there", s.control)
	}
	if s.socket, err = control.Listen(s.control); err != nil {
		return usageError("name a path in a directory of your own", "--control=%s: %w", s.control, err)
	}
	return nil
}

// nameControl opens the socket that is named after the connection, without which
// the mount is worth having, too.
func (s *session) nameControl() {
	if s.control != controlAuto {
		return
	}
	var err error
	if s.socket, err = control.Listen(control.Path(s.mount.Info().Device)); err != nil {
		s.log.WithError(err).Warn("no socket for \"uringfs stats\"")
	}
}

// moreProcessors lets the reactor's threads wait in system calls for long, beside
// those that run Go code (the executors of requests over io_uring add their own).
// Go's monitor takes the right to run away from a waiting thread as soon as there
// is none to spare, by looking every 20 us: a tenth to a quarter of the daemon's
// CPU time on 2 CPUs (Go 1.26).
func moreProcessors() {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)
}

var errInterrupted = &failure{code: exitInterrupted, err: errors.New("interrupted before the mount was up")}

// interrupted says whether a signal to end has come, without waiting.
func (s *session) interrupted() bool {
	for {
		select {
		case sig := <-s.signals:
			if sig == unix.SIGINT || sig == unix.SIGTERM {
				return true
			}
		default:
			return false
		}
	}
}

// confine gives up what serving does not need.
func (s *session) confine() error {
	how := s.settings.Confine
	if how == option.ConfineOff {
		return nil
	}
	if !mount.Privileged() {
		// fusermount3 is setuid root, which no_new_privs forbids.
		err := errors.New("fusermount3 must be run to unmount")
		if how == option.ConfineOn {
			return &failure{code: exitPrivilege, err: fmt.Errorf("confine=on: %w", err), hint: "use confine=auto, or mount as root"}
		}
		s.log.WithError(err).Debug("not confined")
		return nil
	}
	// Later mount(2) is not to be had.
	if err := mount.EnableAbort(); err != nil {
		s.log.WithError(err).Debug("hung requests cannot be aborted")
	}
	err := confine.Apply()
	if err != nil && how == option.ConfineOn {
		return &failure{code: exitPrivilege, err: fmt.Errorf("confine=on: %w", err), hint: "use confine=auto to go without"}
	}
	if err != nil {
		s.log.WithError(err).Info("not fully confined")
	}
	return nil
}

// ready tells the one who started us, be it a shell or systemd, and whoever asks
// by "uringfs stats".
func (s *session) ready() error {
	if s.socket != nil {
		s.socket.Serve(func() any { return s.snapshot() })
	}
	if err := s.child.Report(daemon.Report{Ready: true}); err != nil {
		return err
	}
	transport, _ := s.mount.Transport()
	notify(s.log, fmt.Sprintf("%s\nSTATUS=serving %s at %s (%s)", sdnotify.SdNotifyReady, s.source, s.mount.Mountpoint(), transport))
	return nil
}

// serve handles signals until the mount ends, and ends it when asked to.
func (s *session) serve() (mount.Outcome, error) {
	for {
		select {
		case <-s.mount.Done():
			s.log.WithField("mountpoint", s.mount.Mountpoint()).Info("unmounted by somebody else")
			return s.mount.Unmount(s.settings.Stages)
		case sig := <-s.signals:
			if s.endsBy(sig) {
				s.log.WithField("signal", sig).Info("unmounting")
				return s.stop()
			}
		}
	}
}

// endsBy handles sig and says whether it means to end.
func (s *session) endsBy(sig os.Signal) bool {
	switch sig {
	case unix.SIGUSR1:
		s.log.WithField("stats", s.snapshot()).Info("counters")
		return false
	case unix.SIGHUP:
		if err := s.log.Reopen(); err != nil {
			s.log.WithError(err).Error("the log file cannot be reopened")
		}
		return s.hangup
	}
	return true
}

// stop unmounts. Each further signal to end hurries the unmount on.
func (s *session) stop() (mount.Outcome, error) {
	notify(s.log, sdnotify.SdNotifyStopping)
	stages, done := s.settings.Stages, make(chan struct{})
	hurry := make(chan struct{})
	stages.Hurry = hurry
	// Ends with stop.
	defer close(done)
	go func() {
		for {
			select {
			case <-done:
				return
			case sig := <-s.signals:
				if !s.endsBy(sig) {
					continue
				}
				select {
				case hurry <- struct{}{}:
				case <-done:
					return
				}
			}
		}
	}()
	return s.mount.Unmount(stages)
}

// end gives everything back. What a hung backing directory holds is left to the
// end of the process.
func (s *session) end(outcome mount.Outcome, err error) error {
	if socketErr := s.socket.Close(); socketErr != nil {
		s.log.WithError(socketErr).Warn("control socket")
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownWait)
		defer cancel()
		err = s.backend.Close(ctx)
	}
	if err != nil {
		s.log.WithError(err).Error("ended with requests in flight")
	}
	if outcome == mount.Aborted {
		if s.child != nil {
			s.log.Error(errAborted.Error())
		}
		return errAborted
	}
	return err
}

// notify speaks to systemd, if it listens.
func notify(log *logging.Log, state string) {
	if _, err := sdnotify.SdNotify(false, state); err != nil {
		log.WithError(err).Warn("systemd was not notified")
	}
}

// onTerminal says whether the process has a terminal that could hang up.
func onTerminal() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// raiseNoFile lifts the limit of open files to the hard limit: every inode that
// the kernel caches may hold a descriptor here. Unlike the Go runtime's own
// raise this one is not taken back in child processes and shows in /proc.
func raiseNoFile() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return fmt.Errorf("setrlimit: %w", err)
	}
	return nil
}
