package fs_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/uringfs/uringfs/mount"
)

// What the plain backing answers, the mount answers: every script of the suite
// gives the same transcript in both places.
func TestConformance(t *testing.T) {
	needRoot(t)
	for _, backing := range backings(t) {
		t.Run(backing.name, func(t *testing.T) {
			opts := testOptions{AttrTimeout: time.Second, EntryTimeout: time.Second, NegativeTimeout: time.Second, ACL: true}
			conform(t, backing.name, backing.mount(t), opts, nil)
		})
	}
}

// So it does over FUSE-over-io_uring. URINGFS_TRANSPORT=uring runs all tests
// over that.
func TestConformanceRing(t *testing.T) {
	needRoot(t)
	if len(transports(t)) == 1 {
		t.Skip("one transport to be tested")
	}
	for _, backing := range backings(t) {
		if backing.name != "ext4" && os.Getenv("URINGFS_TEST_LONG") == "" {
			continue
		}
		t.Run(backing.name, func(t *testing.T) {
			opts := testOptions{AttrTimeout: time.Second, EntryTimeout: time.Second, NegativeTimeout: time.Second, ACL: true}
			conformOver(t, mount.TransportUring, backing.name, backing.mount(t), opts, nil)
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
		"uncached":  {ACL: true},
		"direct":    {ACL: true, AttrTimeout: time.Second, EntryTimeout: time.Second, DirectIO: true},
		"writeback": {ACL: true, AttrTimeout: time.Second, EntryTimeout: time.Second, WritebackCache: true},
		"locks":     {ACL: true, AttrTimeout: time.Second, EntryTimeout: time.Second, RemoteLocks: true, NFSExport: true},
		// Fewer descriptors than inodes: most calls open a file handle.
		"handles": {ACL: true, AttrTimeout: time.Second, EntryTimeout: time.Second, MaxNodeFDs: 2},
	}
	for mode, opts := range modes {
		for _, backing := range backings(t) {
			t.Run(mode+"/"+backing.name, func(t *testing.T) {
				conform(t, backing.name, backing.mount(t), opts, nil)
			})
		}
	}
}

// The same as an ordinary user: daemon and callers are one user, without
// allow_other. Steps of the scripts' other users are that user's, too.
func TestConformanceUnprivileged(t *testing.T) {
	needRoot(t)
	for _, backing := range backings(t) {
		if backing.name != "ext4" && os.Getenv("URINGFS_TEST_LONG") == "" {
			continue // half a minute; URINGFS_TEST_LONG runs them all
		}
		t.Run(backing.name, func(t *testing.T) {
			dir := backing.mount(t)
			opts := testOptions{AttrTimeout: time.Second, EntryTimeout: time.Second}
			conform(t, backing.name, dir, opts, &syscall.Credential{Uid: 1001, Gid: 1001})
		})
	}
}

func conform(t *testing.T, backing, dir string, opts testOptions, cred *syscall.Credential) {
	conformOver(t, "", backing, dir, opts, cred)
}

func conformOver(t *testing.T, transport mount.Transport, backing, dir string, opts testOptions, cred *syscall.Credential) {
	plain, source := filepath.Join(dir, "plain"), filepath.Join(dir, "source")
	for _, d := range []string{plain, source} {
		if err := os.Mkdir(d, 0777); err != nil {
			t.Fatal(err)
		}
		if cred != nil {
			if err := os.Chown(d, int(cred.Uid), int(cred.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	openUp(t, dir)
	d := startMount(t, serveConfig{
		Source: source, Options: opts, Transport: transport,
		// What a path-based passthrough fails, for comparison.
		Loopback: os.Getenv("URINGFS_TEST_LOOPBACK") != "",
	}, cred)
	scripts := subjects()
	var names []string
	for name := range scripts {
		names = append(names, name)
	}
	sort.Strings(names)
	steps := 0
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			steps += compare(t, backing, name, scripts[name], plain, d.dir, cred, opts)
		})
	}
	t.Logf("%d calls compared", steps)
}

// compare runs script in a new directory below each of plain and mount.
func compare(t *testing.T, backing, name string, script []string, plain, mount string, cred *syscall.Credential, opts testOptions) int {
	t.Helper()
	var got [2][]string
	var errs [2]error
	var wg sync.WaitGroup
	for i, base := range []string{plain, mount} {
		dir := filepath.Join(base, name)
		wg.Go(func() { got[i], errs[i] = runScript(dir, script, cred) })
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
		if reason := deviation(backing, name, script, i, cred != nil, opts); reason != "" {
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
func deviation(backing, name string, script []string, i int, unprivileged bool, opts testOptions) string {
	fields := strings.Fields(script[i])
	user, call := fields[0], fields[1]
	recent := strings.Join(script[max(i-8, 0):i+1], "\n")
	switch {
	case backing == "btrfs" && call == "listxattr" && user != super:
		return "btrfs lists trusted.* to everybody, the mount to root alone"
	case name == "space" && collapses.MatchString(recent):
		return "FUSE in the kernel refuses FALLOC_FL_COLLAPSE_RANGE, INSERT_RANGE and UNSHARE_RANGE"
	case opts.RemoteLocks && name == "locks" && i == len(script)-1:
		return "the kernel releases a description some time after close(2), and its remote locks with it"
	case backing == "ext4" && name == "ranges" && call == "lseek" && (strings.HasSuffix(script[i], " set") || strings.HasSuffix(script[i], " cur")):
		return "lseek goes beyond the largest file of the backing, which the kernel does not know; no other call does"
	case opts.WritebackCache && (name == "space" || name == "ranges") && call == "lseek":
		return "with the writeback cache everything is data"
	case opts.WritebackCache && name == "ranges" && strings.Contains(script[i], " h"):
		return "with the writeback cache the backing, and its limit, learns of a write later"
	case opts.WritebackCache && name == "ranges" && immutable.MatchString(strings.Join(script[max(i-30, 0):i], "\n")):
		return "with the writeback cache the kernel sets times itself, which an immutable or append-only file forbids"
	case opts.WritebackCache && name == "flags" && call == "utimens":
		return "with the writeback cache the kernel sets times itself, which an append-only file forbids"
	case unprivileged && name == "killpriv" && strings.Contains(recent, "mmapwrite"):
		return "pages written through a mapping reach the backing as writes, which take set-id bits when the daemon is not root"
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
