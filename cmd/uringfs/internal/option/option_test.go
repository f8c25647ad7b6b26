package option

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func apply(words ...string) (*Settings, error) {
	s := Default()
	for _, w := range words {
		if err := s.Apply(w, false); err != nil {
			return s, err
		}
	}
	return s, nil
}

func TestEveryOptionIsWellFormed(t *testing.T) {
	seen := map[string]bool{}
	for _, o := range All() {
		if seen[o.Name] {
			t.Errorf("%s stands twice in the table", o.Name)
		}
		seen[o.Name] = true
		if o.Help == "" || strings.HasSuffix(o.Help, ".") {
			t.Errorf("%s: help %q", o.Name, o.Help)
		}
		if _, both := refused[o.Name]; both {
			t.Errorf("%s is both known and refused", o.Name)
		}
	}
}

func TestFlagsLastOneWins(t *testing.T) {
	s, err := apply("ro,noexec,suid", "rw,nosuid,dev")
	if err != nil {
		t.Fatal(err)
	}
	if s.Mount.Flags != unix.MS_NOEXEC || s.Mount.Suid || !s.Mount.Dev {
		t.Errorf("flags %#x, suid %v, dev %v", s.Mount.Flags, s.Mount.Suid, s.Mount.Dev)
	}
}

func TestValues(t *testing.T) {
	s, err := apply(`attr_timeout=2.5,entry_timeout=1h,negative_timeout=1e30,max_write=128K,fsname=a\,b=c,drain_timeout=0`)
	if err != nil {
		t.Fatal(err)
	}
	if s.Tree.AttrTimeout != 2500*time.Millisecond || s.Tree.EntryTimeout != time.Hour || s.Tree.NegativeTimeout != maxTimeout {
		t.Errorf("timeouts %v %v %v", s.Tree.AttrTimeout, s.Tree.EntryTimeout, s.Tree.NegativeTimeout)
	}
	if s.Mount.MaxWrite != 128<<10 || s.Mount.FSName != "a,b=c" {
		t.Errorf("max_write %d, fsname %q", s.Mount.MaxWrite, s.Mount.FSName)
	}
	if s.Stages.Drain >= 0 {
		t.Errorf("drain_timeout=0 must mean not to wait, got %v", s.Stages.Drain)
	}
}

func TestWordsOfOthersAreIgnored(t *testing.T) {
	if _, err := apply("defaults,noauto,user,_netdev,nofail,x-systemd.requires=/x,x-gvfs-show,X-mount.mkdir,comment=hi,,"); err != nil {
		t.Error(err)
	}
}

func TestWrongWordsAreNamed(t *testing.T) {
	cases := []struct{ word, says, hint string }{
		{"alow_other", `"alow_other"`, `"allow_other"`},
		{"max_wirte=1M", `"max_wirte"`, "max_write=BYTES"},
		{"attr_timeuot=1", `"attr_timeuot"`, "attr_timeout=SECONDS"},
		{"xyzzyplugh", `"xyzzyplugh"`, "help options"},
		{"ro=1", "takes no value", "write ro"},
		{"max_write", "needs a value", "max_write=BYTES"},
		{"max_write=", "needs a value", "max_write=BYTES"},
		{"max_write=0", "more than 0", "max_write=BYTES"},
		{"max_write=-1", "not a size", "max_write=BYTES"},
		{"max_write=9999999999G", "not a size", "max_write=BYTES"},
		{"max_background=many", "not a count", "max_background=COUNT"},
		{"attr_timeout=-1", "cannot be negative", "attr_timeout=SECONDS"},
		{"attr_timeout=NaN", "not a time", "attr_timeout=SECONDS"},
		{"transport=pigeon", "no such value", "transport=auto|uring|dev"},
		{"allow_root", "not supported", "allow_other"},
		{"bind", "bind mount", "mount --bind"},
	}
	for _, c := range cases {
		t.Run(c.word, func(t *testing.T) {
			_, err := apply(c.word)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("Apply: %v", err)
			}
			if !strings.Contains(e.Error(), c.says) || !strings.Contains(e.Hint(), c.hint) {
				t.Errorf("error %q, hint %q; want %q and %q", e.Error(), e.Hint(), c.says, c.hint)
			}
		})
	}
}

func TestSloppyPassesUnknownWordsOnly(t *testing.T) {
	s := Default()
	if err := s.Apply("xyzzyplugh,ro", true); err != nil || s.Mount.Flags != unix.MS_RDONLY {
		t.Errorf("Apply: %v, flags %#x", err, s.Mount.Flags)
	}
	if err := s.Apply("max_write=x", true); err == nil {
		t.Error("a bad value passed")
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"ro", "rw", 1}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func FuzzApply(f *testing.F) {
	f.Add("ro,max_write=1M,fsname=a\\,b")
	f.Fuzz(func(t *testing.T, words string) {
		if err := Default().Apply(words, false); err != nil && !IsError(err) {
			t.Errorf("Apply(%q): %v is no option error", words, err)
		}
	})
}

func TestCombinationsThatCannotWork(t *testing.T) {
	for _, words := range []string{
		"acl,noxattr", "remote_locks,max_inflight=1M", "direct_io,writeback_cache", "kernel_cache,direct_io", "readdirplus=on,attr_timeout=0,entry_timeout=0",
		"engine=sync,io_timeout=1", "engine=sync,backing_uncached", "transport=uring,engine=sync",
	} {
		s, err := apply(words)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Check(); !IsError(err) {
			t.Errorf("%s: Check: %v", words, err)
		}
	}
	s, err := apply("direct_io,writeback_cache,noacl,acl")
	if err != nil {
		t.Fatal(err)
	}
	s.Tree.DirectIO = false
	if err := s.Check(); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestNoatimeReachesTheBackingFiles(t *testing.T) {
	s, err := apply("noatime")
	if err != nil || !s.Tree.NoAtime || s.Mount.Flags&unix.MS_NOATIME == 0 {
		t.Errorf("noatime: %+v, %v", s, err)
	}
	if err := s.Apply("atime", false); err != nil || s.Tree.NoAtime || s.Mount.Flags != 0 {
		t.Errorf("atime: %+v, %v", s, err)
	}
}
