package doctor

import (
	"os"
	"strings"
	"testing"
)

func TestEveryFindingSpeaks(t *testing.T) {
	r := Examine(t.TempDir())
	seen := map[string]bool{}
	for _, f := range r.Findings {
		if f.Name == "" || f.Says == "" || seen[f.Name] {
			t.Errorf("finding %+v", f)
		}
		seen[f.Name] = true
		if f.State != OK && f.Remedy == "" {
			t.Errorf("%s is %s without a remedy: %s", f.Name, f.State, f.Says)
		}
	}
	for _, name := range []string{"kernel", "io_uring", "fuse", "backing", "cached_reads", "o_direct"} {
		if !seen[name] {
			t.Errorf("no finding %q", name)
		}
	}
}

func TestNothingIsLeftInTheSource(t *testing.T) {
	dir := t.TempDir()
	Examine(dir)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("left in the source: %v, %v", entries, err)
	}
}

func TestMissingSourceIsUnfit(t *testing.T) {
	r := Examine("/nonexistent")
	last := r.Findings[len(r.Findings)-1]
	if r.Fit || last.Name != "source" || !strings.Contains(last.Says, "/nonexistent") {
		t.Errorf("fit %v, %+v", r.Fit, last)
	}
}

func TestVersionsCompare(t *testing.T) {
	for _, c := range []struct {
		major, minor int
		want         bool
	}{{5, 10, true}, {5, 11, false}, {4, 19, true}, {6, 0, false}} {
		if got := before(c.major, c.minor, 5, 11); got != c.want {
			t.Errorf("%d.%d before 5.11: %v", c.major, c.minor, got)
		}
	}
}
