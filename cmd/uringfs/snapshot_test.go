package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// TestManualNamesTheCounters: every top-level field of the document, and the
// fields of its own groups, stand in the manual.
func TestManualNamesTheCounters(t *testing.T) {
	manual := section(t, "COUNTERS")
	for _, group := range []struct {
		prefix string
		of     reflect.Type
	}{
		{"", reflect.TypeFor[snapshot]()},
		{"process.", reflect.TypeFor[processStats]()},
		{"fuse.", reflect.TypeFor[fuseStats]()},
	} {
		for i := range group.of.NumField() {
			name, _, _ := strings.Cut(group.of.Field(i).Tag.Get("json"), ",")
			if name != "" && !strings.Contains(manual, group.prefix+name) {
				t.Errorf("COUNTERS lacks %s%s", group.prefix, name)
			}
		}
	}
}

// TestSnapshotInALogLineIsJSON: so that one parser serves the log and stats.
func TestSnapshotInALogLineIsJSON(t *testing.T) {
	var back map[string]any
	if err := json.Unmarshal([]byte(snapshot{PID: 7}.String()), &back); err != nil || back["pid"] != float64(7) {
		t.Errorf("%v, %v", back, err)
	}
}
