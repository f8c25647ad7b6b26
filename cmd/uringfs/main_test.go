package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asMain makes the test binary behave as uringfs in a process of its own.
const asMain = "URINGFS_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	os.Exit(m.Run())
}

// uringfs returns the command with arguments, not started.
func uringfs(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "uringfs"
	cmd.Env = append(os.Environ(), asMain+"=1")
	return cmd
}

// sourceAndMountpoint skips on a machine without FUSE, which CI must have.
func sourceAndMountpoint(t *testing.T) (source, mountpoint string) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	top := t.TempDir()
	source, mountpoint = filepath.Join(top, "source"), filepath.Join(top, "mnt")
	for _, dir := range []string{source, mountpoint} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// Runs before the TempDir is removed, which must not walk into a mount.
	t.Cleanup(func() {
		if unix.Unmount(mountpoint, unix.MNT_DETACH) == nil {
			t.Error("the mount was left over")
		}
	})
	return source, mountpoint
}

// within fails the test if c does not end in time.
func within[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("in vain: %s", what)
		panic("not reached")
	}
}
