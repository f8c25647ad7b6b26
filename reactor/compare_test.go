package reactor

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

// subject is one of several ways to do the same thing, to be compared. do runs
// it n times and returns when all are done.
type subject struct {
	name string
	do   func(n int)
}

// slice is how long a subject runs before it is the next one's turn: shorter
// than a time slice of the kernel, so that most slices are undisturbed, and long
// enough for the clock.
const slice = 200 * time.Microsecond

// compare runs the subjects in turn, a slice at a time. It reports of each the
// median slice and the best one, in ns for an operation, and both as multiples of
// the first subject's. What disturbs the machine disturbs all of them, so the
// multiples hold where the times do not; on a busy machine the best slices say
// more. batch is the least a subject is asked to do at once.
func compare(b *testing.B, batch int, subjects ...subject) {
	b.Helper()
	counts := make([]int, len(subjects))
	samples := make([][]float64, len(subjects))
	for i, s := range subjects {
		counts[i] = batch
		s.do(batch) // warms up
		for {
			start := time.Now()
			s.do(counts[i])
			if d := time.Since(start); d >= slice || counts[i] > 1<<20 {
				break
			}
			counts[i] *= 2
		}
	}
	// Every slice of every subject counts as one iteration of the benchmark's
	// loop, which only decides how long it goes on.
	for b.Loop() {
		for i, s := range subjects {
			start := time.Now()
			s.do(counts[i])
			samples[i] = append(samples[i], float64(time.Since(start).Nanoseconds())/float64(counts[i]))
		}
	}
	b.ReportMetric(0, "ns/op") // of a round, which says nothing
	base, bestBase := median(samples[0]), slices.Min(samples[0])
	for i, s := range subjects {
		m, best := median(samples[i]), slices.Min(samples[i])
		b.ReportMetric(m, s.name+"-ns")
		b.ReportMetric(best, s.name+"-best-ns")
		if i > 0 {
			b.ReportMetric(m/base, s.name+"-x")
			b.ReportMetric(best/bestBase, s.name+"-best-x")
		}
	}
}

func median[T cmp.Ordered](v []T) T {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
