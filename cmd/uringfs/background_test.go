package main

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/uringfs/uringfs/mount"
)

// TestBackgroundRelaysTheChildsError: words, hint and exit code come from a
// process that has neither terminal nor parent's stderr for long.
func TestBackgroundRelaysTheChildsError(t *testing.T) {
	source, mountpoint := sourceAndMountpoint(t)
	cmd := uringfs("-o", "max_background=70000", source, mountpoint)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
		t.Errorf("ended with %v, want exit code %d", err, exitUsage)
	}
	if lines := strings.Split(stderr.String(), "\n"); len(lines) != 3 ||
		!strings.HasPrefix(lines[0], "uringfs: max_background=70000") || !strings.HasPrefix(lines[1], "hint: ") {
		t.Errorf("said %q", stderr.String())
	}
}

func TestBackgroundReturnsWhenUsable(t *testing.T) {
	source, mountpoint := sourceAndMountpoint(t)
	if out, err := uringfs(source, mountpoint).CombinedOutput(); err != nil || len(out) != 0 {
		t.Fatalf("%v: %s", err, out)
	}
	if _, ok, err := mount.At(mountpoint); err != nil || !ok {
		t.Errorf("not mounted: %v", err)
	}
	if out, err := uringfs("umount", mountpoint).CombinedOutput(); err != nil {
		t.Errorf("umount: %v: %s", err, out)
	}
}
