package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

func newCopier(t *testing.T) *copier {
	t.Helper()
	r, err := reactor.New(reactor.Config{})
	if err != nil {
		if os.Getenv("CI") == "" {
			t.Skipf("no io_uring here: %v", err)
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return &copier{r: r, jobs: 8, progress: func(int64) {}}
}

// makeTree makes files of all sizes, links, odd modes and old times.
func makeTree(t *testing.T, root string) {
	t.Helper()
	source := rand.NewChaCha8([32]byte{1})
	rng := rand.New(source)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for d := range 12 {
		dir := filepath.Join(root, fmt.Sprintf("dir %d", d), "deep\n")
		must(os.MkdirAll(dir, 0o755))
		for f := range 20 {
			size := []int{0, 1, 4095, chunk - 1, chunk, chunk + 1, 3*chunk + 17, rng.IntN(20000)}[rng.IntN(8)]
			p := make([]byte, size)
			source.Read(p)
			path := filepath.Join(dir, fmt.Sprint(f))
			must(os.WriteFile(path, p, 0o600))
			must(os.Chmod(path, []fs.FileMode{0o644, 0o400, 0o755, 0o755 | fs.ModeSetuid, 0}[rng.IntN(5)]))
			old := time.Unix(rng.Int64N(1e9), rng.Int64N(1e9))
			must(os.Chtimes(path, old, old))
		}
		must(os.Symlink("deep\n/3", filepath.Join(dir, "..", "link")))
		must(os.Symlink("/nowhere", filepath.Join(dir, "dangling")))
		must(os.Chmod(dir, 0o2750))
		must(os.Chtimes(dir, time.Unix(1e8, 5), time.Unix(2e8, 7)))
	}
}

// describe is everything a copy keeps of a tree.
func describe(t *testing.T, root string) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%v %v", info.Mode(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			what += fmt.Sprintf(" %d %x", len(content), sha256.Sum256(content))
		} else if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what += " " + target
		}
		m[strings.TrimPrefix(path, root)] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCopyIsLikeItsSource(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("some of the files are readable by root only")
	}
	c := newCopier(t)
	dir := t.TempDir()
	source, destination := filepath.Join(dir, "source"), filepath.Join(dir, "copy")
	makeTree(t, source)
	if err := c.plan(context.Background(), source, destination); err != nil {
		t.Fatal(err)
	}
	if err := c.copy(context.Background()); err != nil {
		t.Fatal(err)
	}
	want, got := describe(t, source), describe(t, destination)
	for path, what := range want {
		if got[path] != what {
			t.Errorf("%q: %.80s, want %.80s", path, got[path], what)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
	if n := c.r.Stats().InFlight; n != 0 {
		t.Errorf("%d operations in flight", n)
	}
}

func TestWhatCannotBeCopiedIsNamedAndTheRestIsCopied(t *testing.T) {
	c := newCopier(t)
	dir := t.TempDir()
	source, destination := filepath.Join(dir, "source"), filepath.Join(dir, "copy")
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, "file"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(source, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := c.plan(context.Background(), source, destination); err != nil {
		t.Fatal(err)
	}
	err := c.copy(context.Background())
	if err == nil || !strings.Contains(err.Error(), filepath.Join(source, "pipe")) {
		t.Errorf("error %v does not name the pipe", err)
	}
	if p, err := os.ReadFile(filepath.Join(destination, "file")); err != nil || !bytes.Equal(p, []byte("x")) {
		t.Errorf("%q, %v", p, err)
	}
}

func TestPlanRefusesWhatWouldGoWrong(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ source, destination, says string }{
		{dir, dir, "exists"},
		{dir, filepath.Join(dir, "inside"), "inside"},
		{file, filepath.Join(dir, "x"), "not a directory"},
		{filepath.Join(dir, "none"), filepath.Join(dir, "x"), "no such file"},
	} {
		err := newCopier(t).plan(context.Background(), c.source, c.destination)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s to %s: %v, want %q", c.source, c.destination, err, c.says)
		}
	}
}

// An interrupted copy leaves no part of a file behind.
func TestInterruptedCopyLeavesWholeFiles(t *testing.T) {
	c := newCopier(t)
	dir := t.TempDir()
	source, destination := filepath.Join(dir, "source"), filepath.Join(dir, "copy")
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	const size = 8 * chunk
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(source, fmt.Sprint(i)), make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := c.plan(ctx, source, destination); err != nil {
		t.Fatal(err)
	}
	c.progress = func(int64) {
		if c.copied.Load() > 3 {
			cancel()
		}
	}
	if err := c.copy(ctx); err == nil && c.copied.Load() < 40 {
		t.Error("no error of an interrupted copy")
	} else if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, unix.EINTR) {
		t.Error(err)
	}
	left, err := os.ReadDir(destination)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if info, err := e.Info(); err != nil || info.Size() != size {
			t.Errorf("%s has %d bytes, %v", e.Name(), info.Size(), err)
		}
	}
	if int(c.copied.Load()) != len(left) {
		t.Errorf("%d files copied, %d there", c.copied.Load(), len(left))
	}
}
