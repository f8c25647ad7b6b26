// Package daemon puts the running program into the background and tells the one
// who started it how that went.
//
// A Go process cannot fork, so the program starts itself again with the same
// arguments, in a session of its own, and waits for a [Report] on a pipe.
package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reportEnv tells the child which descriptor is the pipe.
const reportEnv = "_URINGFS_REPORT_FD"

// A Report is the child's answer: whether it is up, or why not.
type Report struct {
	Ready bool   `json:"ready"`
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// Code is the exit code that the child would have ended with.
	Code int `json:"code,omitempty"`
}

// Start runs this program again in the background and returns its report. While
// it waits, SIGINT and SIGTERM are passed on to the child, which then reports
// that it gave up.
func Start() (Report, error) {
	// What the caller has open is not for the daemon: it would keep pipes from
	// ending and file systems from being unmounted for as long as it runs. A
	// kernel before 5.11 does not know this and leaves them.
	unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	r, w, err := os.Pipe()
	if err != nil {
		return Report{}, fmt.Errorf("pipe to the background process: %w", err)
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), reportEnv+"=3")
	cmd.ExtraFiles = []*os.File{w}
	// Until it is up the child shares our stderr, so that a crash shows.
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}

	signals := make(chan os.Signal, 1) // one is enough to stop the child
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(signals)
	err = cmd.Start()
	w.Close()
	if err != nil {
		return Report{}, fmt.Errorf("start the background process: %w", err)
	}
	// Ends with Start: the channel is closed below.
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case sig := <-signals:
			cmd.Process.Signal(sig)
		case <-done:
		}
	}()

	var report Report
	err = json.NewDecoder(r).Decode(&report)
	if err == nil && report.Ready {
		return report, cmd.Process.Release()
	}
	waitErr := end(cmd)
	if err == nil {
		return report, nil
	}
	if errors.Is(err, io.EOF) && waitErr != nil {
		err = waitErr
	}
	return Report{}, fmt.Errorf("the background process ended without a word: %w", err)
}

// endWait bounds how long a child that has reported a failure may take to end.
const endWait = 2 * time.Second

// end waits for the child, unless a thread of it waits for a filesystem that hangs
// and cannot be killed.
func end(cmd *exec.Cmd) error {
	ended := make(chan error, 1) // so that a late end does not block
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(endWait):
		return nil
	}
}

// A Child is the background process's end of the pipe.
type Child struct{ pipe *os.File }

// Inherit returns the pipe to the process that called Start, or nil if this
// process is not in the background. It is to be called once, at the start.
func Inherit() *Child {
	fd, err := strconv.Atoi(os.Getenv(reportEnv))
	if err != nil {
		return nil
	}
	os.Unsetenv(reportEnv)
	unix.CloseOnExec(fd)
	// Not "exe", for ps and pkill. A name is not worth failing for.
	_ = os.WriteFile("/proc/self/comm", []byte("uringfs"), 0)
	return &Child{os.NewFile(uintptr(fd), "report")}
}

// Report tells the parent how it went. Once up, the child leaves the parent's
// directory and lets go of its terminal: stdin, stdout and stderr become
// /dev/null. A nil Child does nothing.
func (c *Child) Report(report Report) error {
	if c == nil {
		return nil
	}
	defer c.pipe.Close()
	if report.Ready {
		if err := letGo(); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(c.pipe).Encode(report); err != nil {
		return fmt.Errorf("report to the parent: %w", err)
	}
	return nil
}

// letGo comes before the report, so that whoever waits for the end of our
// output (a shell's $(…)) goes on as soon as the parent exits.
func letGo() error {
	if err := os.Chdir("/"); err != nil {
		return err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 3 {
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return fmt.Errorf("redirect descriptor %d: %w", fd, err)
		}
	}
	return nil
}
