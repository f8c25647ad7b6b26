package mount

import (
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"os"
	"sync"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/mount/overuring"
)

// A Mount is a node tree that is attached to a directory. Its methods are safe
// for concurrent use.
type Mount struct {
	info      Info
	transport Transport
	reason    string
	direct    bool
	keep      *os.File // the socket of a watching fusermount3, or nil
	log       *logrus.Entry
	served    chan struct{} // closed when the server has ended

	unmounting sync.Mutex // one unmount at a time
	outcome    Outcome    // guarded by unmounting
}

// A Tree is what can be mounted. Package fs has one; [Nodes] makes one of any
// go-fuse node tree.
type Tree interface {
	// FuseOptions are the timeouts, capabilities and the like that the tree
	// needs. Where the mount's Options speak of the same thing, they win.
	FuseOptions() fusefs.Options
	// RawFileSystem is the tree behind go-fuse's protocol. It gets the
	// options of FuseOptions with the mount's additions, and is called once.
	RawFileSystem(*fusefs.Options) fuse.RawFileSystem
}

// Nodes is the Tree of an ordinary go-fuse node tree.
func Nodes(root fusefs.InodeEmbedder, o fusefs.Options) Tree { return nodes{root, o} }

type nodes struct {
	root fusefs.InodeEmbedder
	opts fusefs.Options
}

func (n nodes) FuseOptions() fusefs.Options { return n.opts }

func (n nodes) RawFileSystem(o *fusefs.Options) fuse.RawFileSystem {
	return fusefs.NewNodeFS(n.root, o)
}

// New mounts tree on the directory mountpoint and serves it. When New returns
// without an error the mount answers requests. A tree can be mounted once.
//
// The caller ends the mount with Unmount; anybody else may do so with
// umount(8), which Wait tells. The tree must stay whole until Wait returns.
func New(tree Tree, mountpoint string, o Options) (*Mount, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := Check(o.Source, mountpoint, o); err != nil {
		return nil, err
	}
	if o.Recover {
		if err := recoverStale(mountpoint, &o); err != nil {
			return nil, err
		}
	}
	abs, err := resolve(mountpoint)
	if err != nil {
		return nil, &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q", mountpoint), cause: err}
	}
	c, transport, reason, err := choose(&o)
	if err != nil {
		return nil, err
	}
	m := &Mount{transport: transport, reason: reason, log: o.Log, served: make(chan struct{})}
	watchMonitor(m.served)
	if err := m.start(c, tree, abs, &o); err != nil {
		close(m.served)
		return nil, err
	}
	m.log.WithFields(logrus.Fields{
		"source": m.info.Source, "mountpoint": m.info.Mountpoint, "connection": m.info.Device,
		"transport": m.transport, "reason": m.reason,
	}).Info("mounted")
	return m, nil
}

// start attaches the mount and starts its server, or leaves nothing behind.
func (m *Mount) start(c carrier, tree Tree, mountpoint string, o *Options) error {
	fuseOptions := tree.FuseOptions()
	o.merge(&fuseOptions.MountOptions)

	dev, err := m.attach(mountpoint, o)
	if err != nil {
		c.drop()
		return err
	}
	s, err := c.start(dev, tree, &fuseOptions)
	if err == nil {
		m.info, err = mountedAt(mountpoint)
	}
	if err == nil {
		err = m.settle(s, o)
	}
	if err != nil {
		// The connection is dead or useless: take the mount off again.
		err = errors.Join(err, m.detach(mountpoint, true))
		if s != nil {
			s.Serve() // gives everything back; nobody uses the connection
		}
		return err
	}
	// Ends when the connection does: by Unmount, umount(8) or an abort.
	// Wait and Unmount wait for it.
	go func() {
		defer close(m.served)
		s.Serve()
	}()
	return nil
}

// settle finds out whether the ring is really in use: the kernel may refuse it
// at the last moment.
func (m *Mount) settle(s server, o *Options) error {
	over, ok := s.(*overuring.Server)
	if !ok {
		return nil
	}
	on, refusal := over.Ring()
	if on {
		return nil
	}
	if o.Transport == TransportUring {
		return &Error{kind: ErrTransport, msg: "FUSE-over-io_uring: " + refusal, hint: "use transport=auto or transport=dev"}
	}
	m.transport, m.reason = TransportDev, refusal
	return nil
}

// attach makes the mount and returns its connection.
func (m *Mount) attach(mountpoint string, o *Options) (dev *os.File, err error) {
	m.direct = canMount()
	if !m.direct && (o.Suid || o.Dev) {
		return nil, &Error{kind: ErrPrivilege, msg: "suid and dev: fusermount3 lets root alone have them", hint: "leave them out, or mount as root"}
	}
	if m.direct && !o.AutoUnmount {
		return attachKernel(mountpoint, o)
	}
	dev, m.keep, err = attachFusermount(mountpoint, o)
	return dev, err
}

func mountedAt(mountpoint string) (Info, error) {
	info, ok, err := At(mountpoint)
	if err == nil && !ok {
		err = fmt.Errorf("the mount table does not show %q", mountpoint)
	}
	return info, err
}

// recoverStale takes dead mounts of our type off the mountpoint.
func recoverStale(mountpoint string, o *Options) error {
	for {
		err := checkMountpoint(mountpoint, o.NonEmpty)
		if err == nil && !o.NonEmpty {
			err = checkEmpty(mountpoint)
		}
		if !errors.Is(err, ErrStale) {
			return err
		}
		abs, err := resolveParent(mountpoint)
		if err != nil {
			return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q", mountpoint), cause: err}
		}
		info, ok, err := At(abs)
		if err != nil {
			return err
		}
		if !ok || info.Type != "fuse."+o.Subtype {
			return &Error{kind: ErrStale, msg: fmt.Sprintf("mountpoint %q is a stale mount of type %q, not one of ours", mountpoint, info.Type),
				hint: "unmount it yourself: umount -l " + mountpoint}
		}
		if err := Detach(abs, true); err != nil {
			return fmt.Errorf("clean stale mountpoint %q: %w", mountpoint, err)
		}
		o.Log.WithField("mountpoint", abs).Warn("stale mount taken off")
	}
}

// merge writes what o says into go-fuse's options.
func (o *Options) merge(f *fuse.MountOptions) {
	f.FsName, f.Name = o.FSName, o.Subtype
	f.AllowOther = o.AllowOther
	f.MaxWrite = o.MaxWrite
	f.MaxReadAhead = o.MaxReadAhead
	f.MaxBackground = o.MaxBackground
	f.CongestionThreshold = o.CongestionThreshold
	f.MaxInflightRequestBytes = o.MaxInflightBytes
	// Splicing is slower than copying for requests up to 128 KiB and the
	// reactor's data is in memory anyway.
	f.DisableSplice = true
	switch o.ReadDirPlus {
	case ReadDirPlusOn:
		f.DisabledCapabilities |= fuse.CAP_READDIRPLUS_AUTO
	case ReadDirPlusOff:
		f.DisableReadDirPlus = true
	}
	f.Debug = o.DebugRequests
	level := logrus.WarnLevel
	if o.DebugRequests {
		level = logrus.DebugLevel
	}
	f.Logger = stdlog.New(&lineWriter{o.Log, level}, "", 0)
}

// Mountpoint is the absolute path of the mount.
func (m *Mount) Mountpoint() string { return m.info.Mountpoint }

// Info is the mount's line in the mount table when it was made.
func (m *Mount) Info() Info { return m.info }

// Transport is the transport in use, and reason why it was chosen.
func (m *Mount) Transport() (t Transport, reason string) { return m.transport, m.reason }

// Done is closed when the mount has ended, whoever ended it.
func (m *Mount) Done() <-chan struct{} { return m.served }

// Wait returns when the mount has ended, whoever ended it.
func (m *Mount) Wait() { <-m.served }

// takeFd returns a descriptor of the same open file that no *os.File owns, and
// closes f.
func takeFd(f *os.File) (int, error) {
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("duplicate the FUSE descriptor: %w", err)
	}
	return fd, nil
}

// lineWriter sends each line that go-fuse logs to logrus.
type lineWriter struct {
	log   *logrus.Entry
	level logrus.Level
}

func (w *lineWriter) Write(p []byte) (int, error) {
	line := p
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	w.log.WithField("from", "go-fuse").Log(w.level, string(line))
	return len(p), nil
}

// discard is the log of a caller who wants none.
func discard() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}
