package fs_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uringfs/uringfs/mount"
)

// conformance is one run of the scripts.
type conformance struct {
	transport mount.Transport // empty: that of URINGFS_TRANSPORT, else dev
	opts      testOptions
	cred      *syscall.Credential // of daemon and callers; nil: root, who plays all users
	userns    bool                // callers live in a user namespace, as in a container
}

// What the plain backing answers, the mount answers: every script of the suite
// gives the same transcript in both places.
func TestConformance(t *testing.T) {
	needRoot(t)
	for _, backing := range backings(t) {
		t.Run(backing.name, func(t *testing.T) {
			conformance{opts: conformOptions}.run(t, backing)
		})
	}
}

var conformOptions = testOptions{AttrTimeout: time.Second, EntryTimeout: time.Second, NegativeTimeout: time.Second, ACL: true}

// So it does over FUSE-over-io_uring. URINGFS_TRANSPORT=uring runs all tests
// over that.
func TestConformanceRing(t *testing.T) {
	needRoot(t)
	if len(transports(t)) == 1 {
		t.Skip("one transport to be tested")
	}
	for _, backing := range oneUnlessLong(t) {
		t.Run(backing.name, func(t *testing.T) {
			conformance{transport: mount.TransportUring, opts: conformOptions}.run(t, backing)
		})
	}
}

// So it does in the modes that change what the kernel and the tree do for each
// other. They take minutes and run with URINGFS_TEST_LONG alone.
func TestConformanceModes(t *testing.T) {
	needRoot(t)
	if os.Getenv("URINGFS_TEST_LONG") == "" {
		t.Skip("URINGFS_TEST_LONG is not set")
	}
	modes := map[string]testOptions{
		"uncached":    {ACL: true},
		"direct":      {ACL: true, AttrTimeout: time.Second, EntryTimeout: time.Second, DirectIO: true},
		"writeback":   {ACL: true, AttrTimeout: time.Second, EntryTimeout: time.Second, WritebackCache: true},
		"locks":       {ACL: true, AttrTimeout: time.Second, EntryTimeout: time.Second, RemoteLocks: true, NFSExport: true},
		"passthrough": {ACL: true, AttrTimeout: time.Second, EntryTimeout: time.Second, Passthrough: true},
		// Fewer descriptors than inodes: most calls open a file handle.
		"handles": {ACL: true, AttrTimeout: time.Second, EntryTimeout: time.Second, MaxNodeFDs: 2},
	}
	for mode, opts := range modes {
		for _, backing := range backings(t) {
			t.Run(mode+"/"+backing.name, func(t *testing.T) {
				conformance{opts: opts}.run(t, backing)
			})
		}
	}
}

// The same as an ordinary user: daemon and callers are one user, without
// allow_other. Steps of the scripts' other users are that user's, too.
func TestConformanceUnprivileged(t *testing.T) {
	needRoot(t)
	for _, backing := range oneUnlessLong(t) {
		t.Run(backing.name, func(t *testing.T) {
			opts := testOptions{AttrTimeout: time.Second, EntryTimeout: time.Second}
			conformance{opts: opts, cred: &syscall.Credential{Uid: 1001, Gid: 1001}}.run(t, backing)
		})
	}
}

// So it does for callers in a user namespace, whose root has an id and
// capabilities that reach as far as the ids of the namespace.
func TestConformanceUserNamespace(t *testing.T) {
	needRoot(t)
	for _, backing := range oneUnlessLong(t) {
		t.Run(backing.name, func(t *testing.T) {
			conformance{opts: conformOptions, userns: true}.run(t, backing)
		})
	}
}

// With passthrough the kernel sends no writes, and still nobody else's write
// leaves set-id bits.
func TestPassthroughTakesSetID(t *testing.T) {
	needRoot(t)
	source := t.TempDir()
	opts := conformOptions
	opts.Passthrough = true
	d := startMount(t, serveConfig{Source: source, Options: opts}, nil)
	if err := os.Chmod(d.dir, 0777); err != nil {
		t.Fatal(err)
	}
	var s script
	s.do(owner, "mknod f file 0666")
	s.do(super, "chmod f 06777")
	s.do(other, "open f rw 0 k")
	s.do(other, "write k x")
	s.do(super, "lstat f")
	got, err := runScript(filepath.Join(d.dir, "d"), s.steps, conformance{}.attr())
	if err != nil {
		t.Fatal(err)
	}
	if last := got[len(got)-1]; last != "0 file 0777 n1 1001:1001 size 1" {
		t.Error(strings.Join(got, "\n"))
	}
}

// oneUnlessLong are the backings of runs that take half a minute for all:
// URINGFS_TEST_LONG runs them all.
func oneUnlessLong(t *testing.T) []backing {
	return slices.DeleteFunc(backings(t), func(b backing) bool {
		return b.name != "ext4" && os.Getenv("URINGFS_TEST_LONG") == ""
	})
}

// The first id of the user namespace, and how many it has.
const usernsID, usernsSize = 100000, 65536

// attr is how the callers' process is started.
func (c conformance) attr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Credential: c.cred, Pdeathsig: syscall.SIGKILL}
	if c.userns {
		ids := []syscall.SysProcIDMap{{HostID: usernsID, Size: usernsSize}}
		attr.Cloneflags = syscall.CLONE_NEWUSER
		attr.UidMappings, attr.GidMappings, attr.GidMappingsEnableSetgroups = ids, ids, true
		attr.Credential = &syscall.Credential{} // root of it
	}
	return attr
}

func (c conformance) run(t *testing.T, b backing) {
	dir := b.mount(t)
	plain, source := filepath.Join(dir, "plain"), filepath.Join(dir, "source")
	for _, d := range []string{plain, source} {
		if err := os.Mkdir(d, 0777); err != nil {
			t.Fatal(err)
		}
		uid, gid := 0, 0
		if c.cred != nil {
			uid, gid = int(c.cred.Uid), int(c.cred.Gid)
		} else if c.userns {
			uid, gid = usernsID, usernsID
		}
		if err := os.Chown(d, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	openUp(t, dir)
	d := startMount(t, serveConfig{
		Source: source, Options: c.opts, Transport: c.transport,
		// What a path-based passthrough fails, for comparison.
		Loopback: os.Getenv("URINGFS_TEST_LOOPBACK") != "",
	}, c.cred)
	scripts := subjects()
	if c.userns && os.Getenv("URINGFS_TEST_LONG") == "" {
		// Those whose answers rest on capabilities.
		maps.DeleteFunc(scripts, func(name string, _ []string) bool {
			return !slices.Contains([]string{"acl", "mkdir", "names", "rename", "search", "tmpfile"}, name)
		})
	}
	steps := 0
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		t.Run(name, func(t *testing.T) {
			steps += c.compare(t, b.name, name, scripts[name], plain, d.dir)
		})
	}
	t.Logf("%d calls compared", steps)
}

// compare runs script in a new directory below each of plain and mount.
func (c conformance) compare(t *testing.T, backing, name string, script []string, plain, mount string) int {
	t.Helper()
	var got [2][]string
	var errs [2]error
	var wg sync.WaitGroup
	for i, base := range []string{plain, mount} {
		dir := filepath.Join(base, name)
		wg.Go(func() { got[i], errs[i] = runScript(dir, script, c.attr()) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	differ, known := 0, map[string]int{}
	for i, step := range script {
		if got[0][i] == got[1][i] {
			continue
		}
		if reason := c.deviation(backing, name, script, i); reason != "" {
			known[reason]++
			continue
		}
		if differ++; differ <= 20 {
			t.Errorf("step %d: %s\n plain: %s\n mount: %s\n after: %s", i, short(step), short(got[0][i]), short(got[1][i]),
				short(strings.Join(script[max(i-6, 0):i], "; ")))
		}
	}
	if differ > 20 {
		t.Errorf("%d of %d steps differ", differ, len(script))
	}
	for reason, n := range known {
		t.Logf("%d steps differ as documented: %s", n, reason)
	}
	return len(script)
}

// deviation says why step i of a script may differ; docs/CONFORMANCE.md lists
// the same. Empty means that it may not.
func (c conformance) deviation(backing, name string, script []string, i int) string {
	fields := strings.Fields(script[i])
	user, call := fields[0], fields[1]
	recent := strings.Join(script[max(i-8, 0):i+1], "\n")
	switch {
	case backing == "btrfs" && call == "listxattr" && user != super:
		return "btrfs lists trusted.* to everybody, the mount to root alone"
	case name == "space" && collapses.MatchString(recent):
		return "FUSE in the kernel refuses FALLOC_FL_COLLAPSE_RANGE, INSERT_RANGE and UNSHARE_RANGE"
	case c.opts.RemoteLocks && name == "locks" && i == len(script)-1:
		return "the kernel releases a description some time after close(2), and its remote locks with it"
	case backing == "ext4" && name == "ranges" && call == "lseek" && (strings.HasSuffix(script[i], " set") || strings.HasSuffix(script[i], " cur")):
		return "lseek goes beyond the largest file of the backing, which the kernel does not know; no other call does"
	case c.opts.WritebackCache && (name == "space" || name == "ranges") && call == "lseek":
		return "with the writeback cache everything is data"
	case c.opts.WritebackCache && name == "ranges" && strings.Contains(script[i], " h"):
		return "with the writeback cache the backing, and its limit, learns of a write later"
	case c.opts.WritebackCache && name == "ranges" && immutable.MatchString(strings.Join(script[max(i-30, 0):i], "\n")):
		return "with the writeback cache the kernel sets times itself, which an immutable or append-only file forbids"
	case c.opts.WritebackCache && name == "flags" && call == "utimens":
		return "with the writeback cache the kernel sets times itself, which an append-only file forbids"
	case c.opts.WritebackCache && (name == "dates" && call == "times" || name == "truncate" && call == "moved"):
		return "with the writeback cache times are the kernel's: the backing does not limit dates, nor does a truncation to the same size move them"
	case c.opts.Passthrough && name == "append" && call == "cat":
		return "with passthrough the kernel appends as the file was opened, whatever F_SETFL said since"
	case c.cred != nil && name == "killpriv" && strings.Contains(recent, "mmapwrite"):
		return "pages written through a mapping reach the backing as writes, which take set-id bits when the daemon is not root"
	case c.userns && user == super && (call == "setflags" || slices.Contains([]string{"acl", "chown", "flags", "killpriv", "setgid"}, name)):
		return "set-id bits and inode flags by the capabilities of a user namespace, which FUSE does not tell"
	case backing == "btrfs" && name == "killpriv" && strings.Contains(recent, "fallocate k 3 "):
		return "btrfs leaves set-id bits and capabilities when a hole is punched into nothing; the kernel takes them before it asks"
	}
	return ""
}

var immutable = regexp.MustCompile(`setflags t [ia]`)

var collapses = regexp.MustCompile(`fallocate f (8|32|64) `)

func short(s string) string {
	if len(s) > 300 {
		return fmt.Sprintf("%s... (%d bytes)", s[:300], len(s))
	}
	return s
}
