package mount

import (
	"errors"
	"fmt"
	"os"
	"strings"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/uringfs/uringfs/mount/overuring"
	"github.com/uringfs/uringfs/reactor"
)

// A Transport is a way for requests to get from the kernel to the node tree.
type Transport string

const (
	// TransportAuto takes FUSE-over-io_uring where the kernel offers it, and
	// /dev/fuse otherwise.
	TransportAuto Transport = "auto"
	// TransportUring is FUSE-over-io_uring or an error.
	TransportUring Transport = "uring"
	// TransportDev is read(2) and write(2) on /dev/fuse.
	TransportDev Transport = "dev"
)

// Transports lists the valid values.
func Transports() []Transport {
	return []Transport{TransportAuto, TransportUring, TransportDev}
}

func (t Transport) validate() error {
	for _, valid := range Transports() {
		if t == valid {
			return nil
		}
	}
	return &Error{kind: ErrOption, msg: fmt.Sprintf("transport=%s is unknown", t), hint: "use auto, uring or dev"}
}

// A server moves the requests of one FUSE connection. Starting one has answered
// INIT, so the mount is usable.
type server interface {
	// Serve returns when the connection has ended and every request that was
	// taken from it has been answered or dropped. It closes the connection.
	Serve()
}

// A carrier is a transport that was made ready for one mount: either start or
// drop ends that.
type carrier interface {
	// start takes a fresh connection over, of which nothing has been read
	// yet, and makes the tree's filesystem. It owns dev from then on, also
	// when it fails.
	start(dev *os.File, tree Tree, o *fusefs.Options) (server, error)
	drop()
}

// offers stand in the order in which TransportAuto tries them. prepare fails
// where this host or these options rule the transport out.
var offers = []struct {
	transport Transport
	prepare   func(o *Options) (carrier, error)
}{
	{TransportUring, prepareRing},
	{TransportDev, func(*Options) (carrier, error) { return device{}, nil }},
}

// choose makes the transport for o.Transport ready. reason says why it is that.
func choose(o *Options) (c carrier, t Transport, reason string, err error) {
	var passed []string
	for _, offer := range offers {
		if o.Transport != TransportAuto && o.Transport != offer.transport {
			continue
		}
		c, err := offer.prepare(o)
		switch {
		case err == nil && o.Transport != TransportAuto:
			return c, offer.transport, "asked for", nil
		case err == nil:
			return c, offer.transport, strings.Join(append(passed, "auto"), "; "), nil
		case o.Transport != TransportAuto:
			return nil, "", "", err
		}
		passed = append(passed, err.Error())
	}
	// Unreachable while /dev/fuse is on offer and validate has passed.
	return nil, "", "", &Error{kind: ErrTransport, msg: fmt.Sprintf("transport=%s is not in this build", o.Transport)}
}

// device serves /dev/fuse with go-fuse's own loops.
type device struct{}

// start has go-fuse take the connection, which it does under the name /dev/fd/N.
func (device) start(dev *os.File, tree Tree, o *fusefs.Options) (server, error) {
	fd, err := takeFd(dev)
	if err != nil {
		return nil, err
	}
	s, err := fuse.NewServer(tree.RawFileSystem(o), fmt.Sprintf("/dev/fd/%d", fd), &o.MountOptions)
	if err != nil {
		return nil, fmt.Errorf("FUSE handshake: %w", err)
	}
	return s, nil
}

func (device) drop() {}

// ring is FUSE-over-io_uring, its rings set up.
type ring struct{ s *overuring.Server }

func prepareRing(o *Options) (carrier, error) {
	if o.MaxWrite < MinMaxWriteUring {
		return nil, &Error{kind: ErrTransport,
			msg:  fmt.Sprintf("max_write=%d is too small for FUSE-over-io_uring: a large xattr would crash the kernel", o.MaxWrite),
			hint: fmt.Sprintf("leave max_write out or make it at least %d", MinMaxWriteUring)}
	}
	if o.AutoUnmount {
		// fusermount3 looks once whether the mount is dead when its socket
		// closes; a process's rings, which hold the connection, go later.
		return nil, &Error{kind: ErrTransport, msg: "auto_unmount does not work over io_uring: fusermount3 looks before the rings are gone",
			hint: "use transport=dev, or recover in place of auto_unmount"}
	}
	err := overuring.Available()
	var s *overuring.Server
	if err == nil {
		s, err = overuring.New(overuring.Options{Depth: o.UringDepth, Memory: int64(o.UringMemory), Workers: o.Workers, Log: o.Log})
	}
	if err == nil {
		return ring{s}, nil
	}
	return nil, &Error{kind: ErrTransport, msg: err.Error(), hint: hintOf(err)}
}

// hintOf is the remedy that an error of the packages below names.
func hintOf(err error) string {
	var unavailable *overuring.UnavailableError
	if errors.As(err, &unavailable) {
		return unavailable.Remedy
	}
	var setup *reactor.SetupError
	if errors.As(err, &setup) {
		return setup.Hint
	}
	return "use transport=auto or transport=dev"
}

func (r ring) start(dev *os.File, tree Tree, o *fusefs.Options) (server, error) {
	fd, err := takeFd(dev)
	if err != nil {
		r.drop()
		return nil, err
	}
	o.ServerCallbacks = r.s.Callbacks()
	if err := r.s.Start(fd, tree.RawFileSystem(o), &o.MountOptions); err != nil {
		return nil, fmt.Errorf("FUSE handshake: %w", err)
	}
	return r.s, nil
}

func (r ring) drop() { r.s.Close() }
