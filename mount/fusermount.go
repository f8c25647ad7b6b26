package mount

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// fusermountPath finds fusermount3, or fusermount of libfuse 2. PATH may be
// empty under init systems, hence the fixed places.
func fusermountPath() (string, error) {
	for _, name := range []string{"fusermount3", "/usr/bin/fusermount3", "/bin/fusermount3", "fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", &Error{kind: ErrPrivilege, msg: "fusermount3 is not installed, and this process may not call mount(2)",
		hint: "install the package fuse3, or run as root"}
}

// attachFusermount has the setuid program fusermount3 mount, which passes the
// open connection back through a socket. With AutoUnmount the program stays and
// watches the socket, which is then returned as keep: closing it (by whatever
// end of this process) unmounts.
func attachFusermount(mountpoint string, o *Options) (dev, keep *os.File, err error) {
	bin, err := fusermountPath()
	if err != nil {
		return nil, nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair for fusermount3: %w", err)
	}
	local, remote := os.NewFile(uintptr(pair[0]), "fusermount-local"), os.NewFile(uintptr(pair[1]), "fusermount-remote")
	defer remote.Close()

	cmd := exec.Command(bin, "-o", joinWords(o.fusermountWords()), "--", mountpoint)
	cmd.Env = append(os.Environ(), "_FUSE_COMMFD=3")
	cmd.ExtraFiles = []*os.File{remote}
	stderr, err := stderrFile()
	if err != nil {
		local.Close()
		return nil, nil, err
	}
	defer stderr.Close()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		local.Close()
		return nil, nil, fmt.Errorf("start %s: %w", bin, err)
	}
	remote.Close()
	dev, err = receiveFile(pair[0])
	if o.AutoUnmount && err == nil {
		// It waits for local to be closed; reap it then.
		go cmd.Wait()
		return dev, local, nil
	}
	waitErr := cmd.Wait()
	local.Close()
	if err != nil || waitErr != nil {
		if dev != nil {
			dev.Close()
		}
		return nil, nil, fusermountError(mountpoint, readAll(stderr), errors.Join(waitErr, err))
	}
	return dev, nil, nil
}

// stderrFile collects what fusermount3 says. It is a memfd and not a pipe,
// because a fusermount3 that stays for AutoUnmount would keep a pipe open.
func stderrFile() (*os.File, error) {
	fd, err := unix.MemfdCreate("fusermount-stderr", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd for fusermount3: %w", err)
	}
	return os.NewFile(uintptr(fd), "fusermount-stderr"), nil
}

func readAll(f *os.File) string {
	buf := make([]byte, 4096)
	n, _ := f.ReadAt(buf, 0)
	return string(bytes.TrimSpace(buf[:n]))
}

func fusermountError(mountpoint, said string, cause error) error {
	for _, name := range []string{"fusermount3: ", "fusermount: "} {
		if _, rest, ok := strings.Cut(said, name); ok {
			said = rest
			break
		}
	}
	if said == "" {
		return &Error{kind: ErrPrivilege, msg: fmt.Sprintf("fusermount3 on %q", mountpoint), cause: cause}
	}
	e := &Error{kind: ErrPrivilege, msg: fmt.Sprintf("fusermount3 on %q: %s", mountpoint, said)}
	switch {
	case strings.Contains(said, "user_allow_other"):
		e.hint = "let root add a line \"user_allow_other\" to /etc/fuse.conf, or leave allow_other out"
	case strings.Contains(said, "unknown option"):
		e.hint = "this fusermount3 is too old for it: leave it out, or mount as root"
	case strings.Contains(said, "no write access"), strings.Contains(said, "not owned"):
		e.hint = "an ordinary user can only mount on a directory of their own"
	case strings.Contains(said, "too many"):
		e.hint = "let root raise mount_max in /etc/fuse.conf"
	case strings.Contains(said, "/dev/fuse: Permission denied"):
		e.hint = "let root chmod 666 /dev/fuse, as udev does by default"
	case strings.Contains(said, "/dev/fuse"):
		e.hint = "load the module (modprobe fuse); in a container pass --device /dev/fuse"
	case strings.Contains(said, "Operation not permitted"):
		e.hint = "is fusermount3 setuid root? (chmod u+s) And not under no_new_privs?"
	}
	return e
}

// detachFusermount unmounts as an ordinary user may.
func detachFusermount(mountpoint string, lazy bool) error {
	bin, err := fusermountPath()
	if err != nil {
		return err
	}
	args := []string{"-u"}
	if lazy {
		args = append(args, "-z")
	}
	out, err := exec.Command(bin, append(args, "--", mountpoint)...).CombinedOutput()
	if err == nil {
		return nil
	}
	said := string(bytes.TrimSpace(out))
	if strings.Contains(said, "busy") {
		return unix.EBUSY
	}
	return fusermountError(mountpoint, said, err)
}

// joinWords joins -o words, with the commas and backslashes inside them escaped
// as fusermount3 reads them.
func joinWords(words []string) string {
	escape := strings.NewReplacer(`\`, `\\`, `,`, `\,`)
	escaped := make([]string, len(words))
	for i, w := range words {
		escaped[i] = escape.Replace(w)
	}
	return strings.Join(escaped, ",")
}

// receiveFile takes the one descriptor that fusermount3 sends.
func receiveFile(socket int) (*os.File, error) {
	var data [1]byte
	control := make([]byte, unix.CmsgSpace(4))
	var n, oobn int
	var err error
	for {
		n, oobn, _, _, err = unix.Recvmsg(socket, data[:], control, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("receive from fusermount3: %w", err)
	}
	if n == 0 && oobn == 0 {
		return nil, errors.New("fusermount3 closed the socket without a descriptor")
	}
	messages, err := unix.ParseSocketControlMessage(control[:oobn])
	if err != nil {
		return nil, fmt.Errorf("parse message of fusermount3: %w", err)
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err == nil && len(fds) == 1 {
			return os.NewFile(uintptr(fds[0]), devFuse), nil
		}
	}
	return nil, errors.New("fusermount3 sent no descriptor")
}
