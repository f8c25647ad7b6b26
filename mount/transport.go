package mount

import (
	"fmt"
	"os"
	"strings"

	"github.com/hanwen/go-fuse/v2/fuse"
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

// A starter takes a fresh connection over, of which nothing has been read yet.
// It owns dev from then on, also when it fails.
type starter func(dev *os.File, raw fuse.RawFileSystem, o *fuse.MountOptions) (server, error)

// A carrier is one implementation of a transport.
type carrier struct {
	transport Transport
	// refuses says why this host or these options rule the carrier out.
	refuses func(o *Options) error
	start   starter
}

// carriers stand in the order in which TransportAuto tries them.
var carriers = []carrier{
	{TransportDev, func(*Options) error { return nil }, startDev},
}

// choose picks the carrier for o.Transport. reason says why it was picked.
func choose(o *Options) (c carrier, reason string, err error) {
	var passed []string
	for _, c := range carriers {
		if o.Transport != TransportAuto && o.Transport != c.transport {
			continue
		}
		err := c.refuses(o)
		switch {
		case err == nil && o.Transport != TransportAuto:
			return c, "asked for", nil
		case err == nil:
			return c, strings.Join(append(passed, "auto"), "; "), nil
		case o.Transport != TransportAuto:
			return carrier{}, "", err
		}
		passed = append(passed, err.Error())
	}
	return carrier{}, "", &Error{kind: ErrTransport,
		msg:  fmt.Sprintf("transport=%s is not in this build", o.Transport),
		hint: "use transport=auto or transport=dev"}
}

// startDev serves /dev/fuse with go-fuse's own loops. go-fuse takes a connection
// made by others under the name /dev/fd/N.
func startDev(dev *os.File, raw fuse.RawFileSystem, o *fuse.MountOptions) (server, error) {
	fd, err := takeFd(dev)
	if err != nil {
		return nil, err
	}
	s, err := fuse.NewServer(raw, fmt.Sprintf("/dev/fd/%d", fd), o)
	if err != nil {
		return nil, fmt.Errorf("FUSE handshake: %w", err)
	}
	return s, nil
}
