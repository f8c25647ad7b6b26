package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const connectionsDir = "/sys/fs/fuse/connections"

// Abort cuts the FUSE connection off: every request that waits on it ends with
// ECONNABORTED or ENOTCONN, and so does every later one. device is
// [Info.Device]. It takes the user who mounted, or root, and a mounted fusectl
// filesystem (systemd mounts it; where it is missing and may be, so does Abort).
func Abort(device uint32) error {
	path := connectionFile(device, "abort")
	err := os.WriteFile(path, []byte("1"), 0)
	if errors.Is(err, os.ErrNotExist) && EnableAbort() == nil {
		err = os.WriteFile(path, []byte("1"), 0)
	}
	if err != nil {
		return fmt.Errorf("abort FUSE connection %d: %w", device, err)
	}
	return nil
}

// fusectlMagic is FUSE_CTL_SUPER_MAGIC of the kernel's fs/fuse/control.c.
const fusectlMagic = 0x65735543

// EnableAbort mounts the fusectl filesystem where it is missing, which Abort
// does too if it then still may.
func EnableAbort() error {
	var s unix.Statfs_t
	if err := unix.Statfs(connectionsDir, &s); err == nil && s.Type == fusectlMagic {
		return nil
	}
	if err := unix.Mount("fusectl", connectionsDir, "fusectl", 0, ""); err != nil {
		return fmt.Errorf("mount fusectl: %w", err)
	}
	return nil
}

// Waiting is how many requests the kernel has queued or handed out on the
// connection and not seen answered.
func Waiting(device uint32) (requests int, err error) {
	text, err := os.ReadFile(connectionFile(device, "waiting"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func connectionFile(device uint32, name string) string {
	return filepath.Join(connectionsDir, strconv.FormatUint(uint64(device), 10), name)
}

// deadWait bounds how long a mount is given to answer.
const deadWait = time.Second

// Dead says whether nobody serves the mount any more: the kernel then answers
// ENOTCONN in place of the daemon. The mount itself is only asked if no process
// that we see serves it (another PID namespace hides some, and so do kernels before
// fuse_connection in fdinfo). If it hangs then, it is not dead, and costs a
// second and a blocked thread, which may keep this process from ending.
func Dead(i Info) bool {
	if i.served() {
		return false
	}
	return notConnected(i.probe(deadWait))
}

// notConnected says whether err is what the kernel answers for a mount whose daemon
// is gone.
func notConnected(err error) bool {
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

// served says whether a process that we see holds the connection's /dev/fuse.
func (i Info) served() bool {
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return false
	}
	want := fmt.Sprintf("fuse_connection:\t%d\n", i.Device)
	for _, dir := range pids {
		infos, err := os.ReadDir(filepath.Join(dir, "fdinfo"))
		if err != nil {
			continue // gone, or somebody else's
		}
		for _, e := range infos {
			if text, err := os.ReadFile(filepath.Join(dir, "fdinfo", e.Name())); err == nil && strings.Contains(string(text), want) {
				return true
			}
		}
	}
	return false
}

// probe asks the mount for what is never cached, and gives ETIMEDOUT if it takes
// longer than d.
func (i Info) probe(d time.Duration) error {
	return bounded(d, func() error {
		var st unix.Statfs_t
		return unix.Statfs(i.Mountpoint, &st)
	})
}

// bounded gives ETIMEDOUT if f takes longer than d, and leaves it behind: a thread
// that waits for a filesystem that hangs.
func bounded(d time.Duration, f func() error) error {
	answer := make(chan error, 1) // so that a late answer does not block
	go func() { answer <- f() }()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case err := <-answer:
		return err
	case <-t.C:
		return unix.ETIMEDOUT
	}
}
