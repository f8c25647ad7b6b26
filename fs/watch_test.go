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

// lingering has a node of the file at path linger, after changes that the function
// which is returned makes one more of: it writes to the start of the file.
func lingering(t *testing.T, path string) (n *node, change func()) {
	t.Helper()
	tree, err := New(filepath.Dir(path), Options{IO: NewSyncIO(0), AttrTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	t.Cleanup(func() { tree.Close() })
	n = &node{tree: tree}
	n.ref.init(fd)
	n.cache.handles.Store(1)
	n.cache.dropping.Store(true) // there is no kernel to be told
	change = func() {
		t.Helper()
		done := n.change(5)
		overwriteFile(t, path, "mount", 0)
		done()
	}
	for end := time.Now().Add(time.Minute); !n.lingers(); change() {
		if time.Now().After(end) {
			t.Fatal("changes do not linger")
		}
	}
	return n, change
}

func (n *node) lingers() bool {
	n.cache.mu.Lock()
	defer n.cache.mu.Unlock()
	return n.cache.lingers
}

func overwriteFile(t *testing.T, path, data string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte(data), off)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestChangesAmongThoseThatLinger(t *testing.T) {
	for _, tc := range []struct {
		name   string
		others func(n *node, path string)
		joined bool
	}{
		{"none", func(*node, string) {}, false},
		{"none, and one of ours failed", func(n *node, _ string) {
			done := n.change(1 << 20)
			n.cache.cameShort()
			done()
		}, false},
		{"appended", func(_ *node, path string) { overwriteFile(t, path, "behind", 4096) }, true},
		{"shortened", func(_ *node, path string) { os.Truncate(path, 100) }, true},
		{"later", func(_ *node, path string) {
			time.Sleep(100 * time.Millisecond) // timestamps are as coarse as that at most
			overwriteFile(t, path, "behind", 4000)
		}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
				t.Fatal(err)
			}
			n, change := lingering(t, path)
			change()
			tc.others(n, path)
			st, ok := n.fstat()
			n.cache.mu.Lock()
			defer n.cache.mu.Unlock()
			if joined := n.cache.joined(&st); !ok || joined != tc.joined {
				t.Errorf("others have joined: %v, %+v", joined, st)
			}
		})
	}
}

// What was written among changes that linger cannot be told from these, so the next
// open does without what the kernel has; not before they are over, and only that.
func TestAnOpenAfterChangesThatLinger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	n, _ := lingering(t, path)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	done := n.change(5)
	if !n.cache.unchanged(fd) {
		t.Error("an open drops pages from under a write")
	}
	if n.settle() || !n.lingers() {
		t.Error("changes are settled while one is under way")
	}
	done()
	if !n.settle() || n.lingers() {
		t.Error("changes linger for ever")
	}
	time.Sleep(2 * linger)
	if n.cache.unchanged(fd) {
		t.Error("the first open at rest keeps what the kernel has")
	}
	if !n.cache.unchanged(fd) {
		t.Error("the second does not")
	}
}

func TestStreak(t *testing.T) {
	var s streak
	now := time.Now()
	several := func(n int, every time.Duration) (many int) {
		for range n {
			now = now.Add(every)
			if s.goesOn(now) {
				many++
			}
		}
		return many
	}
	if n := several(singleChanges+10, time.Microsecond); n != 10 {
		t.Errorf("%d of %d changes at once are of many", n, singleChanges+10)
	}
	if n := several(1000, linger/10); n < 890 || n > 910 {
		t.Errorf("%d of 1000 changes, ten in the time of one, are of many", n)
	}
	if n := several(1000, linger); n != 0 {
		t.Errorf("%d of 1000 changes at their time are of many", n)
	}
}
