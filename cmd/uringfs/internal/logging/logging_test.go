package logging

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReopenFollowsRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := Open(Options{Level: "info", Format: "text", File: path})
	if err != nil {
		t.Fatal(err)
	}
	l.Info("before")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Info("after")
	for name, want := range map[string]string{path + ".1": "before", path: "after"} {
		text, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(text), want) || strings.Count(string(text), "\n") != 1 {
			t.Errorf("%s: %q, %v; want one line with %q", name, text, err, want)
		}
	}
}

func TestJSONLinesParse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l, err := Open(Options{Level: "debug", Format: "json", File: path})
	if err != nil {
		t.Fatal(err)
	}
	l.WithField("source", "/srv").Debug("mounted")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var line map[string]string
	if err := json.Unmarshal(text, &line); err != nil || line["msg"] != "mounted" || line["source"] != "/srv" {
		t.Errorf("line %q: %v", text, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, o := range []Options{
		{Level: "shout", Format: "text"},
		{Level: "info", Format: "xml"},
		{Level: "info", Format: "text", File: "/nonexistent/log"},
	} {
		if _, err := Open(o); err == nil {
			t.Errorf("Open(%+v) succeeded", o)
		}
	}
}
