package mount

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// makeTree makes directories (names ending in /) and files below a new one.
func makeTree(t *testing.T, names ...string) string {
	t.Helper()
	top := t.TempDir()
	for _, n := range names {
		path := filepath.Join(top, n)
		var err error
		if strings.HasSuffix(n, "/") {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, nil, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func TestCheckRefuses(t *testing.T) {
	top := makeTree(t, "src/", "src/in/", "src/file", "mnt/", "full/", "full/file")
	if err := os.Symlink("src", filepath.Join(top, "link")); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, source, mountpoint string
		o                        Options
		kind                     error
		says                     string
	}{
		{"missing source", "none", "mnt", Options{}, ErrSource, "no such file"},
		{"file as source", "src/file", "mnt", Options{}, ErrSource, "not a directory"},
		{"missing mountpoint", "src", "none", Options{}, ErrMountpoint, "no such file"},
		{"file as mountpoint", "src", "full/file", Options{}, ErrMountpoint, "not a directory"},
		{"mountpoint with entries", "src", "full", Options{}, ErrMountpoint, "not empty"},
		{"mountpoint in the source", "src", "src/in", Options{}, ErrDeadlock, "deadlock"},
		{"mountpoint in the source by a link", "link", "src/in", Options{}, ErrDeadlock, "deadlock"},
		{"mountpoint by a link in the source", "src", "link/in", Options{}, ErrDeadlock, "deadlock"},
		{"mountpoint is the source", "src", "src", Options{NonEmpty: true}, ErrDeadlock, "deadlock"},
		{"root as source", "/", "mnt", Options{}, ErrDeadlock, "deadlock"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			source := c.source
			if source != "/" {
				source = filepath.Join(top, source)
			}
			err := Check(source, filepath.Join(top, c.mountpoint), c.o)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Check: %v; want %v saying %q", err, c.kind, c.says)
			}
		})
	}
}

func TestCheckAccepts(t *testing.T) {
	top := makeTree(t, "src/", "mnt/", "full/", "full/src/", "srcs/")
	cases := []struct {
		name, source, mountpoint string
		o                        Options
	}{
		{"plain", "src", "mnt", Options{}},
		{"name that merely begins like the source", "src", "srcs", Options{}},
		{"entries with nonempty", "src", "full", Options{NonEmpty: true}},
		{"source in the mountpoint", "full/src", "full", Options{NonEmpty: true}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := Check(filepath.Join(top, c.source), filepath.Join(top, c.mountpoint), c.o); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOptionsRefuse(t *testing.T) {
	cases := map[string]Options{
		"max_write below a page":         {MaxWrite: 4095},
		"negative max_write":             {MaxWrite: -1},
		"max_background beyond 16 bit":   {MaxBackground: 1 << 16},
		"congestion above background":    {MaxBackground: 64, CongestionThreshold: 65},
		"unknown transport":              {Transport: "carrier-pigeon"},
		"subtype with a comma":           {Subtype: "a,b"},
		"uring with a kernel-BUG buffer": {Transport: TransportUring, MaxWrite: MinMaxWriteUring - 1},
	}
	for name, o := range cases {
		t.Run(name, func(t *testing.T) {
			if err := o.complete(); !errors.Is(err, ErrOption) {
				t.Errorf("complete: %v, want %v", err, ErrOption)
			}
		})
	}
}

// TestEscapedWordsReachFusermount: a comma in fsname must not become an option.
func TestEscapedWordsReachFusermount(t *testing.T) {
	if got, want := joinWords([]string{"a,b", `c\d`, "e"}), `a\,b,c\\d,e`; got != want {
		t.Errorf("joinWords = %q, want %q", got, want)
	}
}
