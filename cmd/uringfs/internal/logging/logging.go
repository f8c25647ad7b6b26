// Package logging sets logrus up as the command line asks: to stderr, to a file
// that can be rotated, or to syslog.
package logging

import (
	"fmt"
	"io"
	"log/syslog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/sirupsen/logrus"
	logrussyslog "github.com/sirupsen/logrus/hooks/syslog"
)

// Options is what the command line says about the log.
type Options struct {
	// Level is a logrus level.
	Level string
	// Format is text or json.
	Format string
	// File receives the log. Empty: stderr, or syslog in the background.
	File string
	// Background sends the log to syslog when there is no File.
	Background bool
}

// A Log is where the messages go.
type Log struct {
	*logrus.Logger
	file *file // nil when the log goes to stderr or syslog
}

// Open makes the log ready.
func Open(o Options) (*Log, error) {
	level, err := logrus.ParseLevel(o.Level)
	if err != nil {
		return nil, fmt.Errorf("--log-level=%s: %w", o.Level, err)
	}
	l := &Log{Logger: logrus.New()}
	l.SetLevel(level)
	switch o.Format {
	case "text":
		l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true})
	case "json":
		l.SetFormatter(&logrus.JSONFormatter{})
	default:
		return nil, fmt.Errorf("--log-format=%s: neither text nor json", o.Format)
	}
	switch {
	case o.File != "":
		abs, err := filepath.Abs(o.File)
		if err != nil {
			return nil, fmt.Errorf("--log-file=%s: %w", o.File, err)
		}
		l.file = &file{path: abs}
		if err := l.file.reopen(); err != nil {
			return nil, fmt.Errorf("open the log file: %w", err)
		}
		l.SetOutput(l.file)
	case o.Background:
		l.toSyslog()
	}
	return l, nil
}

// toSyslog sends messages to the host's syslog. A host without one (a container
// as a rule) has no place for them: they are dropped, as libfuse's would be.
func (l *Log) toSyslog() {
	l.SetOutput(io.Discard)
	hook, err := logrussyslog.NewSyslogHook("", "", syslog.LOG_DAEMON, "uringfs")
	if err == nil {
		l.AddHook(hook)
	}
}

// HasFile says whether Reopen does anything.
func (l *Log) HasFile() bool { return l.file != nil }

// Reopen opens the log file by its name again, after it was rotated.
func (l *Log) Reopen() error {
	if l.file == nil {
		return nil
	}
	return l.file.reopen()
}

// file is a log file that can be swapped while it is written to.
type file struct {
	path string

	mu sync.Mutex // guards f
	f  *os.File
}

func (l *file) reopen() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return err
	}
	// A crash of the background process, whose stderr is /dev/null, leaves
	// its trace here.
	if err := debug.SetCrashOutput(f, debug.CrashOptions{}); err != nil {
		f.Close()
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		l.f.Close()
	}
	l.f = f
	return nil
}

func (l *file) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Write(p)
}
