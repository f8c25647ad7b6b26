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

// deadWait bounds how long Dead waits for a mount that may hang.
const deadWait = time.Second

// Dead says whether nobody serves the mount any more: the kernel then answers
// ENOTCONN in place of the daemon. It asks the mount, so a caller who can tell
// otherwise that the daemon is alive should not call it. A mount that hangs is
// not dead, and costs a second and a blocked thread.
func Dead(i Info) bool {
	answer := make(chan error, 1) // so that a late answer does not block
	go func() {
		var st unix.Statfs_t
		answer <- unix.Statfs(i.Mountpoint, &st)
	}()
	select {
	case err := <-answer:
		return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
	case <-time.After(deadWait):
		return false
	}
}
