package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// cached are the timeouts most mounts will run with.
var cached = testOptions{AttrTimeout: time.Second, EntryTimeout: time.Second}

// The tree passes go-fuse's own POSIX tests, with and without kernel caches.
func TestPosixtest(t *testing.T) {
	modes := map[string]testOptions{"cached": cached, "uncached": {}, "writeback": {
		AttrTimeout: time.Second, EntryTimeout: time.Second, WritebackCache: true,
	}}
	for _, transport := range transports(t) {
		for mode, opts := range modes {
			t.Run(fmt.Sprint(mode, " over ", transport), func(t *testing.T) {
				d := startMount(t, serveConfig{Source: t.TempDir(), Options: opts, Transport: transport}, nil)
				runPosixtest(t, d.dir)
			})
		}
	}
}

func runPosixtest(t *testing.T, mountpoint string) {
	for name, fn := range posixtest.All {
		if name == "FcntlFlockLocksFile" {
			// It wants two locks of one process to conflict, which they do on
			// no filesystem (go-fuse's own run leaves it out, v2.12.1).
			continue
		}
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(mountpoint, name)
			if err := os.Mkdir(dir, 0755); err != nil {
				t.Fatal(err)
			}
			fn(t, dir)
		})
	}
}

// An unmounted daemon has given every descriptor back, and a mounted one keeps
// none for what the kernel has forgotten.
func TestNoDescriptorLeft(t *testing.T) {
	d := startMount(t, serveConfig{Source: t.TempDir(), Options: cached}, nil)
	before := d.fds()
	for i := range 3 {
		dir := filepath.Join(d.dir, "d")
		if err := os.Mkdir(dir, 0755); err != nil {
			t.Fatal(err)
		}
		for j := range 100 {
			if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))+time.Duration(j).String()), []byte("x"), 0644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	// FORGETs come when the kernel gets to them.
	waitFor(t, func() bool {
		s := d.stats()
		return s.Nodes == 0 && s.OpenFiles == 0 && s.NodeFDs == 1 && d.fds() <= before
	})
}
