package main

import (
	"encoding/json"
	"os"
	"runtime"
	"runtime/metrics"
	"time"

	"github.com/uringfs/uringfs/mount"
)

// A snapshot is what "uringfs stats" and SIGUSR1 show. Its JSON names are part
// of the interface; counters only grow.
type snapshot struct {
	Version       string          `json:"version"`
	PID           int             `json:"pid"`
	Source        string          `json:"source"`
	Mountpoint    string          `json:"mountpoint"`
	Connection    uint32          `json:"connection"`
	Transport     mount.Transport `json:"transport"`
	Reason        string          `json:"transport_reason"`
	UptimeSeconds float64         `json:"uptime_seconds"`
	Process       processStats    `json:"process"`
	Fuse          fuseStats       `json:"fuse"`
	engineStats
	Tree treeStats `json:"tree"`
}

type processStats struct {
	Threads    int    `json:"threads"` // kernel workers (io-wq) included
	Goroutines int    `json:"goroutines"`
	FDs        int    `json:"fds"`
	HeapBytes  uint64 `json:"heap_bytes"`
}

type fuseStats struct {
	Waiting int `json:"waiting"` // requests the kernel has not seen answered
}

// String is for logs in text form.
func (s snapshot) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (s *session) snapshot() snapshot {
	transport, reason := s.mount.Transport()
	waiting, _ := mount.Waiting(s.mount.Info().Device)
	engine, tree := s.backend.Stats()
	return snapshot{
		Version:       programVersion(),
		PID:           os.Getpid(),
		Source:        s.source,
		Mountpoint:    s.mount.Mountpoint(),
		Connection:    s.mount.Info().Device,
		Transport:     transport,
		Reason:        reason,
		UptimeSeconds: time.Since(s.began).Seconds(),
		Process:       readProcess(),
		Fuse:          fuseStats{Waiting: waiting},
		engineStats:   engine,
		Tree:          tree,
	}
}

func readProcess() processStats {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/threads/total:threads"}}
	metrics.Read(sample)
	p := processStats{Goroutines: runtime.NumGoroutine()}
	if sample[0].Value.Kind() == metrics.KindUint64 {
		p.HeapBytes = sample[0].Value.Uint64()
	}
	if tasks, err := os.ReadDir("/proc/self/task"); err == nil {
		p.Threads = len(tasks)
	}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		p.FDs = len(fds) - 1 // the directory itself
	}
	return p
}
