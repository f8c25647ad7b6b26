package overuring

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// readCPUs reads a list such as /sys/devices/system/cpu/possible.
func readCPUs(path string) ([]int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseCPUs(strings.TrimSpace(string(text)))
}

// parseCPUs reads the kernel's list format, "0-3,8".
func parseCPUs(text string) ([]int, error) {
	var cpus []int
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		from, err := strconv.Atoi(first)
		if err == nil {
			var to int
			if to, err = strconv.Atoi(last); err == nil && to < from {
				err = strconv.ErrRange
			}
			for cpu := from; err == nil && cpu <= to; cpu++ {
				cpus = append(cpus, cpu)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("list of CPUs %q: %w", text, err)
		}
	}
	return cpus, nil
}

// plan says how many queues there are and which executor serves each. The
// kernel wants a queue for every possible CPU; only the online ones get a
// thread, the others share theirs.
type plan struct {
	pins   []int // CPU of each executor
	serves []int // executor of each queue
	spare  []bool
}

func newPlan(possible, online []int) plan {
	p := plan{pins: online}
	place := make(map[int]int, len(online))
	for i, cpu := range online {
		place[cpu] = i
	}
	queues := 0
	for _, cpu := range possible {
		queues = max(queues, cpu+1)
	}
	for q := range queues {
		executor, ok := place[q]
		if !ok {
			executor = q % len(online)
		}
		p.serves = append(p.serves, executor)
		p.spare = append(p.spare, !ok)
	}
	return p
}

// depths is how many entries each queue gets so that all payloads together fit
// into memory, at most depth and at least one; spare queues get one.
func (p plan) depths(depth, payload int, memory int64) []int {
	busy := int64(len(p.pins))
	left := memory/int64(payload) - int64(len(p.serves)) + busy
	fit := int(max(1, min(int64(depth), left/busy)))
	depths := make([]int, len(p.serves))
	for q, spare := range p.spare {
		depths[q] = fit
		if spare {
			depths[q] = 1
		}
	}
	return depths
}

func hostPlan() (plan, error) {
	possible, err := readCPUs("/sys/devices/system/cpu/possible")
	if err != nil {
		return plan{}, err
	}
	online, err := readCPUs("/sys/devices/system/cpu/online")
	if err != nil {
		return plan{}, err
	}
	return newPlan(possible, online), nil
}
