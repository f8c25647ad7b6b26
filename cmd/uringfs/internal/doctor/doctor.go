// Package doctor examines a host and a directory for what uringfs needs and can
// use. It changes nothing: files that it tries things on have no name and are
// gone when it returns.
package doctor

import "fmt"

// A State grades a finding.
type State string

const (
	// OK: there, and in order.
	OK State = "ok"
	// Note: not there, and not needed; something would be better with it.
	Note State = "note"
	// Warn: works, but not as most users would want it.
	Warn State = "warn"
	// Fail: nothing can be mounted without it.
	Fail State = "fail"
)

// A Finding is the result of one examination.
type Finding struct {
	// Name is a stable word for scripts, such as "io_uring".
	Name  string `json:"name"`
	State State  `json:"state"`
	// Says is what was found, for people.
	Says string `json:"says"`
	// Remedy is what to do about it. Only what is OK has none.
	Remedy string `json:"remedy,omitempty"`
}

// A Report is all findings.
type Report struct {
	// Fit is false if a finding is Fail.
	Fit      bool      `json:"fit"`
	Findings []Finding `json:"findings"`
}

// Examine looks at the host and, unless it is empty, at the directory source.
func Examine(source string) Report {
	r := Report{Fit: true}
	for _, examine := range hostExaminations {
		r.add(examine())
	}
	if source != "" {
		for _, f := range examineSource(source) {
			r.add(f)
		}
	}
	return r
}

func (r *Report) add(f Finding) {
	r.Findings = append(r.Findings, f)
	if f.State == Fail {
		r.Fit = false
	}
}

func ok(name, format string, args ...any) Finding {
	return Finding{Name: name, State: OK, Says: fmt.Sprintf(format, args...)}
}

func finding(name string, s State, remedy, format string, args ...any) Finding {
	return Finding{Name: name, State: s, Says: fmt.Sprintf(format, args...), Remedy: remedy}
}
