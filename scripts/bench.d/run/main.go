// Run is the measuring part of scripts/bench: it drives fio and the syscalls
// program over several directories side by side and prints medians and ratios.
//
// Within a round every cell is measured on all targets one after the other, in
// an order that rotates from round to round, so that a noisy minute falls on
// all of them and the ratios hold although the figures drift.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// config is what the command line says.
type config struct {
	targets  []target
	cells    []cell
	rounds   int
	duration time.Duration // of one measurement
	fileSize int64         // bytes per file; fio job i uses file i
	base     string        // target that ratios are taken against
	syscalls string        // path of the syscalls program
	json     string        // path of the machine-readable result, or empty
	csv      string        // path of the single measurements, or empty
	quiet    bool          // no progress on stderr
}

// target is a directory to measure in.
type target struct {
	Name   string
	Dir    string
	PID    int  // daemon behind Dir, 0 if there is none
	Direct bool // fio opens with O_DIRECT
}

// parseTarget reads NAME=DIR[,pid=N][,direct].
func parseTarget(s string) (target, error) {
	name, rest, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return target{}, fmt.Errorf("target %q: want NAME=DIR[,pid=N][,direct]", s)
	}
	fields := strings.Split(rest, ",")
	t := target{Name: name, Dir: fields[0]}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "pid":
			pid, err := strconv.Atoi(value)
			if err != nil {
				return target{}, fmt.Errorf("target %q: pid: %w", s, err)
			}
			t.PID = pid
		case "direct":
			t.Direct = true
		default:
			return target{}, fmt.Errorf("target %q: unknown word %q", s, f)
		}
	}
	return t, nil
}

func parseConfig() (config, error) {
	var c config
	flag.Func("target", "NAME=DIR[,pid=N][,direct], may be repeated", func(s string) error {
		t, err := parseTarget(s)
		c.targets = append(c.targets, t)
		return err
	})
	cells := flag.String("cells", "", "comma-separated cells: RW-BS-xJOBS (RW is fio's) or RW-BS-xJOBS-cached, stat, open-close")
	flag.IntVar(&c.rounds, "rounds", 5, "rounds; figures are medians over them")
	flag.DurationVar(&c.duration, "time", time.Second, "length of one measurement")
	size := flag.Int64("file-mib", 16, "size of each file, in MiB")
	flag.StringVar(&c.base, "base", "", "target that ratios are taken against")
	flag.StringVar(&c.syscalls, "syscalls", "", "path of the syscalls program")
	flag.StringVar(&c.json, "json", "", "write medians to this file")
	flag.StringVar(&c.csv, "csv", "", "write every measurement to this file")
	flag.BoolVar(&c.quiet, "q", false, "no progress")
	flag.Parse()

	c.fileSize = *size << 20
	for s := range strings.SplitSeq(*cells, ",") {
		cell, err := parseCell(s)
		if err != nil {
			return c, err
		}
		c.cells = append(c.cells, cell)
	}
	if len(c.targets) == 0 {
		return c, fmt.Errorf("no -target given")
	}
	return c, nil
}

// prepare lays out the files that the cells use and reads them into the page cache.
func prepare(c config) error {
	jobs := 1
	for _, cell := range c.cells {
		jobs = max(jobs, cell.jobs)
	}
	block := make([]byte, 1<<20)
	for i := range block {
		block[i] = byte(i*7 + i>>8)
	}
	for _, t := range c.targets {
		for i := range jobs {
			if err := layOut(filepath.Join(t.Dir, fileName(i)), block, c.fileSize); err != nil {
				return err
			}
		}
	}
	return nil
}

// layOut makes name a file of size bytes unless it is one already.
func layOut(name string, block []byte, size int64) error {
	if st, err := os.Stat(name); err == nil && st.Size() == size {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for n := int64(0); n < size; n += int64(len(block)) {
		if _, err := f.Write(block[:min(int64(len(block)), size-n)]); err != nil {
			f.Close()
			return err
		}
	}
	return f.Close()
}

// fileName is the file of fio's job i (0-based) in a target's directory.
func fileName(i int) string { return fmt.Sprintf("bench.%d", i) }

func run() error {
	c, err := parseConfig()
	if err != nil {
		return err
	}
	if err := prepare(c); err != nil {
		return fmt.Errorf("lay out files: %w", err)
	}
	var all []measurement
	for round := range c.rounds {
		for _, cell := range c.cells {
			for i := range c.targets {
				t := c.targets[(i+round)%len(c.targets)]
				m, err := measure(c, cell, t)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", cell.name, t.Name, err)
				}
				m.Round = round + 1
				all = append(all, m)
				if !c.quiet {
					fmt.Fprintf(os.Stderr, "round %d/%d  %-18s %-18s %12.0f op/s\n", m.Round, c.rounds, cell.name, t.Name, m.OpsPerS)
				}
			}
		}
	}
	r := newReport(c, all)
	r.print(os.Stdout)
	if c.json != "" {
		if err := r.writeJSON(c.json); err != nil {
			return err
		}
	}
	if c.csv != "" {
		return writeCSV(c.csv, all)
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
