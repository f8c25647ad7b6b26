package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"text/tabwriter"
)

// figure is the median of one cell on one target over the rounds.
type figure struct {
	Cell      string    `json:"cell"`
	Target    string    `json:"target"`
	OpsPerS   float64   `json:"ops_per_s"`
	BytesPerS float64   `json:"bytes_per_s,omitempty"`
	CPUPerOp  float64   `json:"daemon_cpu_us_per_op,omitempty"`
	Threads   int       `json:"daemon_threads,omitempty"`
	RSS       int64     `json:"daemon_rss_bytes,omitempty"`
	Ratio     float64   `json:"ratio,omitempty"` // median of the per-round ratios to the base target
	Rounds    []float64 `json:"rounds_ops_per_s"`
}

// report is the outcome of a run.
type report struct {
	Base    string   `json:"base,omitempty"`
	Rounds  int      `json:"rounds"`
	Seconds float64  `json:"seconds_per_measurement"`
	Targets []string `json:"targets"`
	Cells   []string `json:"cells"`
	Figures []figure `json:"figures"`
}

func newReport(c config, all []measurement) report {
	r := report{Base: c.base, Rounds: c.rounds, Seconds: c.duration.Seconds()}
	for _, t := range c.targets {
		r.Targets = append(r.Targets, t.Name)
	}
	for _, cell := range c.cells {
		r.Cells = append(r.Cells, cell.name)
		base := pick(all, cell.name, c.base)
		for _, t := range c.targets {
			r.Figures = append(r.Figures, newFigure(pick(all, cell.name, t.Name), base))
		}
	}
	return r
}

// pick returns the measurements of one cell on one target, by round.
func pick(all []measurement, cell, target string) []measurement {
	var out []measurement
	for _, m := range all {
		if m.Cell == cell && m.Target == target {
			out = append(out, m)
		}
	}
	return out
}

// newFigure condenses the rounds of one target; base holds the same rounds of
// the base target, or is empty.
func newFigure(rounds, base []measurement) figure {
	f := figure{Cell: rounds[0].Cell, Target: rounds[0].Target}
	var bytes, cpu, threads, rss, ratios []float64
	for i, m := range rounds {
		f.Rounds = append(f.Rounds, m.OpsPerS)
		bytes = append(bytes, m.BytesPerS)
		cpu = append(cpu, m.CPUPerOp)
		threads = append(threads, float64(m.Threads))
		rss = append(rss, float64(m.RSS))
		if i < len(base) {
			ratios = append(ratios, m.OpsPerS/base[i].OpsPerS)
		}
	}
	f.OpsPerS, f.BytesPerS, f.CPUPerOp = median(f.Rounds), median(bytes), median(cpu)
	f.Threads, f.RSS = int(slices.Max(threads)), int64(slices.Max(rss))
	f.Ratio = median(ratios)
	return f
}

// median returns 0 for no values.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func (r report) figure(cell, target string) figure {
	i := slices.IndexFunc(r.Figures, func(f figure) bool { return f.Cell == cell && f.Target == target })
	return r.Figures[i]
}

// print writes three tables: speed, ratio to the base, and what the daemons spent.
func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "\nMedians of %d rounds of %g s, thousand op/s (MB/s from 64 KiB a request)\n", r.Rounds, r.Seconds)
	r.table(w, r.Targets, speed)
	if r.Base != "" {
		others := slices.DeleteFunc(slices.Clone(r.Targets), func(t string) bool { return t == r.Base })
		fmt.Fprintf(w, "\nRatio to %s (median of the rounds' ratios)\n", r.Base)
		r.table(w, others, func(f figure) string { return fmt.Sprintf("%.2f", f.Ratio) })
	}
	daemons := slices.DeleteFunc(slices.Clone(r.Targets), func(t string) bool {
		return !slices.ContainsFunc(r.Figures, func(f figure) bool { return f.Target == t && f.Threads > 0 })
	})
	if len(daemons) == 0 {
		return
	}
	fmt.Fprintf(w, "\nDaemon: CPU µs per operation / most threads / most resident MB\n")
	r.table(w, daemons, func(f figure) string {
		return fmt.Sprintf("%.1f / %d / %.0f", f.CPUPerOp, f.Threads, float64(f.RSS)/1e6)
	})
}

func (r report) table(w io.Writer, targets []string, value func(figure) string) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "cell\t")
	for _, t := range targets {
		fmt.Fprint(tw, t, "\t")
	}
	fmt.Fprintln(tw)
	for _, c := range r.Cells {
		fmt.Fprint(tw, c, "\t")
		for _, t := range targets {
			fmt.Fprint(tw, value(r.figure(c, t)), "\t")
		}
		fmt.Fprintln(tw)
	}
	tw.Flush()
}

// speed is MB/s where the requests are large, else thousand operations per second.
func speed(f figure) string {
	if f.OpsPerS > 0 && f.BytesPerS/f.OpsPerS >= 64<<10 {
		return fmt.Sprintf("%.0f MB/s", f.BytesPerS/1e6)
	}
	if f.OpsPerS < 10_000 {
		return fmt.Sprintf("%.2f", f.OpsPerS/1000)
	}
	return fmt.Sprintf("%.1f", f.OpsPerS/1000)
}

func (r report) writeJSON(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

func writeCSV(path string, all []measurement) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := csv.NewWriter(f)
	w.Write([]string{"round", "cell", "target", "ops_per_s", "bytes_per_s", "daemon_cpu_us_per_op", "daemon_threads", "daemon_rss_bytes"})
	num := func(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
	for _, m := range all {
		w.Write([]string{strconv.Itoa(m.Round), m.Cell, m.Target, num(m.OpsPerS), num(m.BytesPerS), num(m.CPUPerOp),
			strconv.Itoa(m.Threads), strconv.FormatInt(m.RSS, 10)})
	}
	w.Flush()
	if err := w.Error(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
