package fs

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The look at open files works from a list, so that it may come to a node after
// the kernel has forgotten it; stress-ng found that. Nothing is left to look at.
func TestLookAtAForgottenNode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tree, err := New(dir, Options{IO: NewSyncIO(0), AttrTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for _, demote := range []bool{false, true} {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Statx_t
		if errno := statxFd(fd, statxMask, &st); errno != 0 {
			t.Fatal(errno)
		}
		n := &node{tree: tree, key: keyOf(&st), lookups: 1}
		n.ref.init(fd)
		tree.fds.held.Add(1)
		tree.nodes[n.key] = n
		if d := tree.devs[n.key.dev]; demote && d != nil && d.mountFD >= 0 && !tree.demote(n) {
			t.Error("the node cannot be demoted")
		}
		n.forget(1)
		n.look()
		if p, errno := n.pin(); errno != syscall.ESTALE {
			t.Errorf("pinned %+v, %v", p, errno)
		}
	}
}
