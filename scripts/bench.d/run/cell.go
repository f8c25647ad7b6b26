package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cell is one thing to measure.
type cell struct {
	name   string
	rw     string // fio's rw, empty for a call of the syscalls program
	bs     int64  // bytes per operation, 0 without data
	jobs   int
	cached bool // fio never opens with O_DIRECT
}

// parseCell reads randread-4k-x16, read-1m-x1, randwrite-4k-x1-cached, stat, open-close.
func parseCell(s string) (cell, error) {
	if s == "stat" || s == "open-close" {
		return cell{name: s, jobs: 1}, nil
	}
	bad := fmt.Errorf("cell %q: want RW-BS-xJOBS, RW-BS-xJOBS-cached, stat or open-close", s)
	io, cached := strings.CutSuffix(s, "-cached")
	parts := strings.Split(io, "-")
	if len(parts) != 3 || len(parts[1]) < 2 {
		return cell{}, bad
	}
	units := map[byte]int64{'k': 1 << 10, 'm': 1 << 20}
	unit := units[parts[1][len(parts[1])-1]]
	count, err1 := strconv.ParseInt(parts[1][:len(parts[1])-1], 10, 64)
	jobs, err2 := strconv.Atoi(strings.TrimPrefix(parts[2], "x"))
	if unit == 0 || err1 != nil || err2 != nil || jobs < 1 {
		return cell{}, bad
	}
	return cell{name: s, rw: parts[0], bs: count * unit, jobs: jobs, cached: cached}, nil
}

// measurement is one cell on one target in one round.
type measurement struct {
	Round     int
	Cell      string
	Target    string
	OpsPerS   float64
	BytesPerS float64
	CPUPerOp  float64 // daemon's user and system time per operation, in µs; 0 without a daemon
	Threads   int     // the daemon's threads, kernel workers included, halfway through
	RSS       int64   // the daemon's resident memory halfway through, in bytes
}

// measure runs cell on t for c.duration.
func measure(c config, cell cell, t target) (measurement, error) {
	m := measurement{Cell: cell.name, Target: t.Name}
	before, err := cpuTime(t.PID)
	if err != nil {
		return m, err
	}
	half := make(chan struct{})
	go func() { // ends by itself halfway; awaited below
		defer close(half)
		time.Sleep(c.duration / 2)
		m.Threads, m.RSS = footprint(t.PID)
	}()
	ops, seconds, err := load(c, cell, t)
	<-half
	if err != nil {
		return m, err
	}
	if ops == 0 {
		return m, errors.New("no operation was made")
	}
	after, err := cpuTime(t.PID)
	if err != nil {
		return m, err
	}
	m.OpsPerS = ops / seconds
	m.BytesPerS = m.OpsPerS * float64(cell.bs)
	m.CPUPerOp = float64((after - before).Microseconds()) / ops
	return m, nil
}

// load makes the operations of cell and says how many in what time.
func load(c config, cell cell, t target) (ops, seconds float64, err error) {
	if cell.rw == "" {
		out, err := output(c.syscalls, "-time", c.duration.String(), cell.name, filepath.Join(t.Dir, fileName(0)))
		if err != nil {
			return 0, 0, err
		}
		var r struct{ Ops, Seconds float64 }
		err = json.Unmarshal(out, &r)
		return r.Ops, r.Seconds, err
	}
	direct := "0"
	if t.Direct && !cell.cached {
		direct = "1"
	}
	out, err := output("fio", "--name=bench", "--directory="+t.Dir, "--filename_format=bench.$jobnum",
		"--rw="+cell.rw, "--bs="+strconv.FormatInt(cell.bs, 10), "--numjobs="+strconv.Itoa(cell.jobs),
		"--size="+strconv.FormatInt(c.fileSize, 10), "--direct="+direct, "--ioengine=psync", "--thread",
		"--invalidate=0", "--fallocate=none", "--norandommap", "--random_generator=tausworthe64",
		"--time_based", "--runtime="+strconv.FormatInt(c.duration.Milliseconds(), 10)+"ms",
		"--group_reporting", "--output-format=json")
	if err != nil {
		return 0, 0, err
	}
	return parseFio(out)
}

// output runs a program and returns its standard output; its standard error,
// where fio too says what went wrong, goes into the error.
func output(name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// parseFio reads the number of operations and the run time from fio's JSON.
func parseFio(out []byte) (ops, seconds float64, err error) {
	type side struct {
		TotalIOs float64 `json:"total_ios"`
		Runtime  float64 `json:"runtime"` // ms
	}
	var r struct {
		Jobs []struct {
			Error       int
			Read, Write side
		}
	}
	// Notes of fio stand before the JSON.
	text := string(out)
	if i := strings.Index(text, "{"); i > 0 {
		text = text[i:]
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return 0, 0, fmt.Errorf("fio's output: %w", err)
	}
	if len(r.Jobs) != 1 {
		return 0, 0, fmt.Errorf("fio's output: %d groups", len(r.Jobs))
	}
	j := r.Jobs[0]
	if j.Error != 0 {
		return 0, 0, fmt.Errorf("fio: error %d", j.Error)
	}
	return j.Read.TotalIOs + j.Write.TotalIOs, max(j.Read.Runtime, j.Write.Runtime) / 1000, nil
}

// cpuTime is what process pid has spent so far, in user and kernel mode, all
// its threads and io-wq workers together. The kernel counts in 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	if pid == 0 {
		return 0, nil
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("the daemon is gone: %w", err)
	}
	// The second field, the name in brackets, may hold blanks. utime and
	// stime are fields 14 and 15, proc_pid_stat(5).
	_, rest, _ := strings.Cut(string(data), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, data)
	}
	utime, err1 := strconv.ParseInt(fields[11], 10, 64)
	stime, err2 := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	return time.Duration(utime+stime) * tick, errors.Join(err1, err2)
}

// footprint is how many threads and how much resident memory (bytes) pid has.
func footprint(pid int) (threads int, rss int64) {
	if pid == 0 {
		return 0, 0
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Threads":
			threads, _ = strconv.Atoi(value)
		case "VmRSS":
			kib, _ := strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
			rss = kib << 10
		}
	}
	return threads, rss
}
