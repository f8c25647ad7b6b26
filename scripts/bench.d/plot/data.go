package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// run holds what scripts/bench has measured.
type run struct {
	cells   []string
	targets []string
	rounds  map[key][]float64 // operations per second
	bytes   map[string]float64
}

// key names the bars of the picture.
type key struct{ cell, target string }

// read takes the --json or the --csv of a run, as the file's name says.
func read(path string) (*run, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &run{rounds: map[key][]float64{}, bytes: map[string]float64{}}
	if filepath.Ext(path) == ".csv" {
		err = r.readCSV(string(data))
	} else {
		err = r.readJSON(data)
	}
	if err == nil && len(r.rounds) == 0 {
		err = fmt.Errorf("nothing was measured")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func (r *run) readJSON(data []byte) error {
	var report struct {
		Figures []struct {
			Cell, Target string
			Ops          float64   `json:"ops_per_s"`
			Bytes        float64   `json:"bytes_per_s"`
			Rounds       []float64 `json:"rounds_ops_per_s"`
		}
	}
	if err := json.Unmarshal(data, &report); err != nil {
		return err
	}
	for _, f := range report.Figures {
		for _, ops := range f.Rounds {
			r.add(f.Cell, f.Target, ops, f.Bytes/f.Ops)
		}
	}
	return nil
}

func (r *run) readCSV(text string) error {
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		return nil
	}
	column := func(name string) int { return slices.Index(lines[0], name) }
	cell, target, ops, bytes := column("cell"), column("target"), column("ops_per_s"), column("bytes_per_s")
	if min(cell, target, ops, bytes) < 0 {
		return fmt.Errorf("not a CSV of scripts/bench")
	}
	for i, line := range lines[1:] {
		n, err1 := strconv.ParseFloat(line[ops], 64)
		b, err2 := strconv.ParseFloat(line[bytes], 64)
		if err1 != nil || err2 != nil || n == 0 {
			return fmt.Errorf("line %d: %q", i+2, line)
		}
		r.add(line[cell], line[target], n, b/n)
	}
	return nil
}

// add notes one measurement. bytes is the size of an operation, 0 without data.
func (r *run) add(cell, target string, ops, bytes float64) {
	if !slices.Contains(r.cells, cell) {
		r.cells = append(r.cells, cell)
	}
	if !slices.Contains(r.targets, target) {
		r.targets = append(r.targets, target)
	}
	r.bytes[cell] = bytes
	r.rounds[key{cell, target}] = append(r.rounds[key{cell, target}], ops)
}

// large says whether the cell's requests are so large that bytes tell more than
// their number: from 64 KiB.
func (r *run) large(cell string) bool { return r.bytes[cell] >= 64<<10 }

// values are the rounds of one bar in the panel's unit.
func (r *run) values(cell, target string) []float64 {
	var v []float64
	for _, ops := range r.rounds[key{cell, target}] {
		if r.large(cell) {
			v = append(v, ops*r.bytes[cell]/1e9)
		} else {
			v = append(v, ops/1e3)
		}
	}
	return v
}

func (r *run) unit(cell string) string {
	if r.large(cell) {
		return "GB/s"
	}
	return "thousand/s"
}

// title is RW-BS-xJOBS in words.
func title(cell string) string {
	parts := strings.Split(cell, "-")
	if len(parts) != 3 {
		return strings.ReplaceAll(cell, "-", " and ")
	}
	rw := map[string]string{"randread": "random read", "randwrite": "random write", "randrw": "random mix",
		"read": "sequential read", "write": "sequential write"}[parts[0]]
	bs := parts[1]
	bs = map[string]string{"k": bs[:len(bs)-1] + " KiB", "m": bs[:len(bs)-1] + " MiB"}[bs[len(bs)-1:]]
	jobs := ""
	if n := strings.TrimPrefix(parts[2], "x"); n != "1" {
		jobs = ", " + n + " jobs"
	}
	return bs + " " + rw + jobs
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
