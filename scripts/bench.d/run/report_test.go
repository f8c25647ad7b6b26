package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestParseCell(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want cell
		ok   bool
	}{
		{"randread-4k-x16", cell{"randread-4k-x16", "randread", 4096, 16, false}, true},
		{"write-1m-x1", cell{"write-1m-x1", "write", 1 << 20, 1, false}, true},
		{"write-4k-x2-cached", cell{"write-4k-x2-cached", "write", 4096, 2, true}, true},
		{"stat-cached", cell{}, false},
		{"stat", cell{"stat", "", 0, 1, false}, true},
		{"randread-4k", cell{}, false},
		{"randread-4-x1", cell{}, false},
		{"randread-4k-x0", cell{}, false},
		{"", cell{}, false},
	} {
		got, err := parseCell(tc.in)
		if (err == nil) != tc.ok || got != tc.want {
			t.Errorf("parseCell(%q) = %+v, %v", tc.in, got, err)
		}
	}
}

func TestParseTarget(t *testing.T) {
	got, err := parseTarget("uringfs=/mnt,pid=42,direct")
	if want := (target{"uringfs", "/mnt", 42, true}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", "/mnt", "x=/mnt,pid=y", "x=/mnt,dirct"} {
		if _, err := parseTarget(bad); err == nil {
			t.Errorf("parseTarget(%q) took it", bad)
		}
	}
}

// The ratio is taken within each round: a round that is slow for both targets
// must not move it.
func TestRatioIsPerRound(t *testing.T) {
	c := config{
		targets: []target{{Name: "base"}, {Name: "new"}}, cells: []cell{{name: "stat"}},
		rounds: 3, duration: time.Second, base: "base",
	}
	var all []measurement
	for round, ops := range []float64{100, 10, 1000} {
		all = append(all,
			measurement{Round: round + 1, Cell: "stat", Target: "base", OpsPerS: ops},
			measurement{Round: round + 1, Cell: "stat", Target: "new", OpsPerS: ops * 1.5})
	}
	f := newReport(c, all).figure("stat", "new")
	if f.Ratio != 1.5 || f.OpsPerS != 150 {
		t.Errorf("ratio %v, median %v, want 1.5, 150", f.Ratio, f.OpsPerS)
	}
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 5}, 5}} {
		if got := median(tc.in); got != tc.want {
			t.Errorf("median(%v) = %v, want %v", tc.in, got, tc.want)
		}
	}
}

func TestParseFio(t *testing.T) {
	const out = "note: both iodepth >= 1 and synchronous I/O engine are selected\n" +
		`{"jobs":[{"error":0,"read":{"total_ios":1500,"runtime":500},"write":{"total_ios":0,"runtime":0}}]}`
	ops, seconds, err := parseFio([]byte(out))
	if err != nil || ops != 1500 || seconds != 0.5 {
		t.Errorf("got %v, %v, %v", ops, seconds, err)
	}
	for _, bad := range []string{"", `{"jobs":[]}`, strings.Replace(out, `"error":0`, `"error":5`, 1)} {
		if _, _, err := parseFio([]byte(bad)); err == nil {
			t.Errorf("parseFio(%q) took it", bad)
		}
	}
}

// The CPU time of this very process is found in /proc and grows with work.
func TestCPUTime(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// However little of a processor it gets.
	for after, end := before, time.Now().Add(time.Minute); after <= before; {
		if after, err = cpuTime(os.Getpid()); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("CPU time stays at %v", before)
		}
	}
	if threads, rss := footprint(os.Getpid()); threads < 1 || rss < 1<<20 {
		t.Errorf("footprint = %d threads, %d bytes", threads, rss)
	}
}
