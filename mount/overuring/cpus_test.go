package overuring

import (
	"fmt"
	"testing"
)

func TestCPUListsAreParsed(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"0", "[0]"}, {"0-3", "[0 1 2 3]"}, {"0-1,4,6-7", "[0 1 4 6 7]"},
	} {
		if got, err := parseCPUs(c.text); err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%q: %v, %v; want %s", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "a", "3-1", "0,", "1-x"} {
		if got, err := parseCPUs(text); err == nil {
			t.Errorf("%q gives %v and no error", text, got)
		}
	}
}

func TestEveryPossibleCPUHasAQueue(t *testing.T) {
	p := newPlan([]int{0, 1, 2, 3, 4, 5}, []int{0, 1, 4})
	if fmt.Sprint(p.pins) != "[0 1 4]" {
		t.Errorf("executors are on %v", p.pins)
	}
	if fmt.Sprint(p.serves) != "[0 1 2 0 2 2]" || fmt.Sprint(p.spare) != "[false false true true false true]" {
		t.Errorf("queues are served by %v, spare: %v", p.serves, p.spare)
	}
}

func TestMemoryBoundsTheDepth(t *testing.T) {
	const mib = 1 << 20
	p := newPlan([]int{0, 1, 2, 3}, []int{0, 1})
	for _, c := range []struct {
		memory int64
		want   string
	}{
		{1 << 40, "[256 256 1 1]"}, {102 * mib, "[50 50 1 1]"}, {1, "[1 1 1 1]"},
	} {
		if got := fmt.Sprint(p.depths(256, mib, c.memory)); got != c.want {
			t.Errorf("%d bytes: %s, want %s", c.memory, got, c.want)
		}
	}
}

func TestHostPlanHasTheCPUsOfThisHost(t *testing.T) {
	p, err := hostPlan()
	if err != nil {
		t.Fatal(err)
	}
	if len(p.pins) == 0 || len(p.serves) < len(p.pins) {
		t.Errorf("%+v", p)
	}
}
