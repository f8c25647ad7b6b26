// Package control answers questions about a running mount on a unix socket.
//
// The socket is found from the mount table alone: it is named after the number
// of the FUSE connection. So "uringfs stats" touches nothing on the mount and
// answers for a mount that hangs.
//
// The protocol is: connect, read one JSON document, end of file.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// ioTimeout bounds how long a peer may take to send or receive a document.
const ioTimeout = 5 * time.Second

// Dir is where this user's sockets lie: /run/uringfs for root, below
// XDG_RUNTIME_DIR for others, or /tmp/uringfs-UID without one.
func Dir() string {
	uid := os.Getuid()
	if uid == 0 {
		return "/run/uringfs"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "uringfs")
	}
	return fmt.Sprintf("/tmp/uringfs-%d", uid)
}

// Path is the socket of the mount with that FUSE connection number.
func Path(connection uint32) string {
	return filepath.Join(Dir(), strconv.FormatUint(uint64(connection), 10)+".sock")
}

// Find is the socket of the mount with that FUSE connection number that the user
// uid serves. For root's eyes that is one of the places where uid's sockets lie
// by default, if one is there; for others it is Path.
func Find(connection uint32, uid int) string {
	own := Path(connection)
	if os.Getuid() != 0 || uid == 0 {
		return own
	}
	for _, dir := range []string{fmt.Sprintf("/run/user/%d/uringfs", uid), fmt.Sprintf("/tmp/uringfs-%d", uid)} {
		path := filepath.Join(dir, filepath.Base(own))
		// Anybody may have made a directory of that name in /tmp.
		var st unix.Stat_t
		if unix.Lstat(dir, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != uid {
			continue
		}
		if unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK {
			return path
		}
	}
	return own
}

// maxDocument bounds what a peer can make Get keep, in bytes.
const maxDocument = 1 << 20

// A Server hands documents out, to this user and root.
type Server struct {
	listener *net.UnixListener
	path     string
	file     unix.Stat_t   // the socket's, as it was made
	done     chan struct{} // closed when serve has ended; nil before Serve
}

// Listen makes a socket at path, whose clients wait for Serve. Close ends it. A
// socket that a dead process left there is replaced.
func Listen(path string) (*Server, error) {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := clear(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	s := &Server{listener: l, path: path}
	if err := errors.Join(os.Chmod(path, 0o600), unix.Lstat(path, &s.file)); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // Close looks first
	return s, nil
}

// Serve answers clients with the document that snapshot makes, from now on. It
// is called once.
func (s *Server) Serve(snapshot func() any) {
	s.done = make(chan struct{})
	// Ends when Close closes the listener; Close waits for it.
	go s.serve(snapshot)
}

// clear makes room for a socket at path. Nothing but a socket is removed.
func clear(path string) error {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return fmt.Errorf("control socket: %w", err)
	case st.Mode&unix.S_IFMT != unix.S_IFSOCK:
		return errors.New("control socket: a file that is no socket is there")
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("replace the control socket: %w", err)
	}
	return nil
}

// Alive says whether a process listens at path.
func Alive(path string) bool {
	conn, err := net.DialTimeout("unix", path, ioTimeout)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// makeDir makes the directory of the sockets, and refuses one that another user
// has put in its place.
func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("directory of the control socket: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("directory of the control socket: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() {
		return fmt.Errorf("directory of the control socket: %q is not ours", dir)
	}
	return nil
}

func (s *Server) serve(snapshot func() any) {
	defer close(s.done)
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		// One at a time is enough: a peer that does not read is cut off.
		conn.SetDeadline(time.Now().Add(ioTimeout))
		encoder := json.NewEncoder(conn)
		encoder.SetIndent("", "  ")
		encoder.Encode(snapshot())
		conn.Close()
	}
}

// Close removes the socket and waits for the last answer. A nil Server does
// nothing. Another process's socket at the path stays: a connection number is
// given out again when the mount is gone, while its daemon still ends.
func (s *Server) Close() error {
	if s == nil {
		return nil
	}
	var err error
	var now unix.Stat_t
	if unix.Lstat(s.path, &now) == nil && now.Dev == s.file.Dev && now.Ino == s.file.Ino {
		err = os.Remove(s.path)
	}
	err = errors.Join(err, s.listener.Close())
	if s.done != nil {
		<-s.done
	}
	return err
}

// Get reads the document of the socket at path into v.
func Get(path string, v any) error {
	conn, err := net.DialTimeout("unix", path, ioTimeout)
	if err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(ioTimeout)); err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	if err := json.NewDecoder(io.LimitReader(conn, maxDocument)).Decode(v); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}
