package reactor

import (
	"bytes"
	"os"
	"slices"
)

// Stats is a reading of a reactor's counters and gauges. Counters only grow.
type Stats struct {
	Submitted   uint64 `json:"submitted"`   // operations handed to the kernel, continuations included
	Completed   uint64 `json:"completed"`   // operations that have ended
	Resubmitted uint64 `json:"resubmitted"` // continuations: short transfers, EINTR, EAGAIN
	Cancelled   uint64 `json:"cancelled"`   // operations that their caller gave up
	Expired     uint64 `json:"expired"`     // operations whose time ran out
	Spurious    uint64 `json:"spurious"`    // completions that belonged to nothing

	BytesRead    uint64 `json:"bytes_read"`
	BytesWritten uint64 `json:"bytes_written"`

	InFlight      int   `json:"in_flight"`       // operations not ended
	InFlightBytes int64 `json:"in_flight_bytes"` // of their buffers
	Held          int   `json:"held"`            // operations whose caller has been answered and whose buffer the kernel still has
	Blocking      int   `json:"blocking"`        // operations in flight on blocking backings
	Waiting       int   `json:"waiting"`         // callers waiting for room within the limits, for a ring, or for one of [Workers]

	Workers int `json:"workers"` // kernel threads (io-wq) of the whole process, idle ones included

	MaxOps     int   `json:"max_ops"`     // the limits
	MaxBytes   int64 `json:"max_bytes"`   //
	MaxWorkers int   `json:"max_workers"` // bound on kernel threads for blocking backings, those of executors that have used the reactor included
	Rings      int   `json:"rings"`
}

// Stats reads the counters. It is cheap enough to be called every second, not
// for every operation: the kernel is asked for the name of each thread.
func (r *Reactor) Stats() Stats {
	bounds := laneWorkers(r.cfg.Workers)
	s := Stats{Workers: countWorkers(), MaxWorkers: bounds.bounded + bounds.unbounded, Rings: len(r.rings)}
	s.MaxOps, s.MaxBytes = r.limits.Max()
	s.Waiting = int(r.waiting.Load() + r.limits.waiting.Load() + r.slow.waiting.Load())
	for _, d := range r.rings {
		d.addTo(&s)
	}
	var pools []*Workers
	r.laneMu.Lock()
	lane := r.lane
	for _, e := range r.executors {
		e.t.addTo(&s)
		if w := e.cfg.Blocking; w != nil {
			s.MaxWorkers += w.each
			if !slices.Contains(pools, w) {
				pools = append(pools, w)
				s.Waiting += int(w.room.waiting.Load())
			}
		}
	}
	s.addCounters(&r.past)
	r.laneMu.Unlock()
	if lane != nil {
		lane.addTo(&s)
	}
	_, s.InFlightBytes = r.limits.InUse() // last: what is not in flight above has none
	return s
}

// countWorkers counts the io-wq threads of this process, which the kernel shows
// among its own, by their name (io_wq_worker).
func countWorkers() (n int) {
	const tasks = "/proc/self/task/"
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return 0
	}
	for _, task := range entries {
		name, err := os.ReadFile(tasks + task.Name() + "/comm")
		if err == nil && bytes.HasPrefix(name, []byte("iou-wrk-")) {
			n++
		}
	}
	return n
}

// addCounters adds the counters, but not the gauges, of other to s.
func (s *Stats) addCounters(other *Stats) {
	s.Submitted += other.Submitted
	s.Completed += other.Completed
	s.Resubmitted += other.Resubmitted
	s.Cancelled += other.Cancelled
	s.Expired += other.Expired
	s.Spurious += other.Spurious
	s.BytesRead += other.BytesRead
	s.BytesWritten += other.BytesWritten
}

// addTo adds the driver's counts to s.
func (d *driver) addTo(s *Stats) {
	d.mu.Lock()
	defer d.mu.Unlock()
	counts := d.counts
	counts.add(d.expressed.reads.Load(), d.expressed.writes.Load())
	s.Submitted += counts.submitted
	s.Completed += counts.completed
	s.Resubmitted += counts.resubmitted
	s.Cancelled += counts.cancelled
	s.Expired += counts.expired
	s.Spurious += counts.spurious
	s.BytesRead += counts.bytesRead
	s.BytesWritten += counts.bytesWritten
	s.InFlight += d.inFlight
	s.Held += d.held
	s.Blocking += int(d.blocking.Load())
}
