package fs_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// locker is a process that locks one file as it is told: record locks belong to
// processes.
type locker struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startLocker(t *testing.T, path string) *locker {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "locker")
	cmd.Env = append(os.Environ(), actEnv+"="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &locker{t: t, cmd: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return l
}

// start tells the process what to do, result waits for what came of it.
func (l *locker) start(command string) { fmt.Fprintln(l.in, command) }

func (l *locker) result() string {
	l.t.Helper()
	line := make(chan string, 1)
	go func() {
		s, _ := l.out.ReadString('\n')
		line <- strings.TrimSpace(s)
	}()
	select {
	case s := <-line:
		return s
	case <-time.After(10 * time.Second):
		l.t.Fatal("no answer from a locker")
		return ""
	}
}

func (l *locker) do(command, want string) {
	l.t.Helper()
	l.start(command)
	if got := l.result(); got != want {
		l.t.Errorf("process %d: %s: %s, want %s", l.cmd.Process.Pid, command, got, want)
	}
}

// runLocker is the process of a locker: "w 0 10" takes bytes 0 to 9, "wait w 0 10"
// waits for them, "test w 0 10" tells who is in the way, "flock ex" and so on.
func runLocker(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		args := strings.Fields(in.Text())
		cmd := unix.F_SETLK
		var err error
		switch args[0] {
		case "close":
			err = f.Close()
			fmt.Println(result(err))
			continue
		case "flock":
			how := map[string]int{"sh": unix.LOCK_SH, "ex": unix.LOCK_EX, "un": unix.LOCK_UN}[args[1]]
			fmt.Println(result(unix.Flock(int(f.Fd()), how|unix.LOCK_NB)))
			continue
		case "wait":
			cmd, args = unix.F_SETLKW, args[1:]
		case "test":
			cmd, args = unix.F_GETLK, args[1:]
		}
		typ := map[string]int16{"r": unix.F_RDLCK, "w": unix.F_WRLCK, "u": unix.F_UNLCK}[args[0]]
		lk := unix.Flock_t{Type: typ, Start: number(args[1]), Len: number(args[2])}
		// An interrupted wait says so: no restart.
		_, _, errno := syscall.Syscall(unix.SYS_FCNTL, f.Fd(), uintptr(cmd), uintptr(flockPtr(&lk)))
		if cmd == unix.F_GETLK && errno == 0 {
			fmt.Println(result(nil, lk.Type, lk.Start, lk.Len, lk.Pid))
		} else if errno != 0 {
			fmt.Println(result(errno))
		} else {
			fmt.Println(result(nil))
		}
	}
	return "", nil
}

// Record locks and flocks of the mount's users exclude each other, tell the
// right pid, go with close, and end in EDEADLK instead of a deadlock: with the
// kernel's own locks and with remote ones alike.
func TestLocks(t *testing.T) {
	for _, remote := range []bool{false, true} {
		t.Run(fmt.Sprint("remote=", remote), func(t *testing.T) {
			source := t.TempDir()
			if err := os.WriteFile(filepath.Join(source, "f"), make([]byte, 100), 0644); err != nil {
				t.Fatal(err)
			}
			d := startMount(t, serveConfig{Source: source, Options: testOptions{
				AttrTimeout: time.Second, EntryTimeout: time.Second, RemoteLocks: remote,
			}}, nil)
			path := filepath.Join(d.dir, "f")
			a, b, c := startLocker(t, path), startLocker(t, path), startLocker(t, path)
			a.do("w 0 10", "0")
			a.do("w 20 10", "0")
			b.do("w 5 10", "EAGAIN")
			b.do("w 10 10", "0")
			b.do("test w 0 0", fmt.Sprintf("0 %d 0 10 %d", unix.F_WRLCK, a.cmd.Process.Pid))
			a.do("r 0 10", "0")
			b.do("r 0 5", "0")
			b.do("test r 0 10", fmt.Sprintf("0 %d 0 10 0", unix.F_UNLCK))
			a.do("u 2 2", "0") // splits
			c.do("w 2 2", "EAGAIN")
			b.do("u 0 5", "0")
			c.do("w 2 2", "0")
			// Waiting, and woken by an unlock.
			c.start("wait w 20 10")
			a.do("u 20 10", "0")
			if got := c.result(); got != "0" {
				t.Errorf("waiter got %s", got)
			}
			// A circle of two.
			a.do("w 50 1", "0")
			b.do("w 60 1", "0")
			a.start("wait w 60 1")
			waitFor(t, func() bool { return blockedIn(a.cmd.Process.Pid) })
			b.do("wait w 50 1", "EDEADLK")
			b.do("u 60 1", "0")
			if got := a.result(); got != "0" {
				t.Errorf("the other half of the circle got %s", got)
			}
			// close(2) of any descriptor of the file releases all of a process.
			c.start("wait w 0 0")
			a.do("close", "0")
			b.do("close", "0")
			if got := c.result(); got != "0" {
				t.Errorf("after the others closed: %s", got)
			}
			// Killed while waiting: gone at once, and not in anybody's way.
			e := startLocker(t, path)
			e.start("wait w 0 0")
			waitFor(t, func() bool { return blockedIn(e.cmd.Process.Pid) })
			e.cmd.Process.Kill()
			e.cmd.Wait()
			c.do("u 0 0", "0")
			f := startLocker(t, path)
			f.do("w 0 0", "0")
			f.do("flock ex", "0")
			c.do("flock sh", "EAGAIN")
			f.do("flock un", "0")
			c.do("flock sh", "0")
		})
	}
}

// With remote locks, users of the mount and of the source exclude each other.
func TestRemoteLocks(t *testing.T) {
	source := t.TempDir()
	plain := filepath.Join(source, "f")
	if err := os.WriteFile(plain, make([]byte, 100), 0644); err != nil {
		t.Fatal(err)
	}
	d := startMount(t, serveConfig{Source: source, Options: testOptions{RemoteLocks: true}}, nil)
	inside, outside := startLocker(t, filepath.Join(d.dir, "f")), startLocker(t, plain)
	outside.do("w 0 10", "0")
	inside.do("w 5 1", "EAGAIN")
	inside.do("test w 0 50", fmt.Sprintf("0 %d 0 10 %d", unix.F_WRLCK, outside.cmd.Process.Pid))
	inside.start("wait w 0 20")
	outside.do("u 0 10", "0")
	if got := inside.result(); got != "0" {
		t.Errorf("waiter for a lock at the source got %s", got)
	}
	outside.do("w 0 1", "EAGAIN")
	inside.do("close", "0")
	outside.do("w 0 1", "0")
	inside = startLocker(t, filepath.Join(d.dir, "f"))
	outside.do("flock ex", "0")
	inside.do("flock sh", "EAGAIN")
	outside.do("flock un", "0")
	inside.do("flock ex", "0")
	outside.do("flock sh", "EAGAIN")
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for range 1000 {
		if cond() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("waited in vain")
}

// blockedIn reports whether a thread of the process waits in fcntl.
func blockedIn(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	for _, path := range tasks {
		b, _ := os.ReadFile(path)
		if strings.HasPrefix(string(b), fmt.Sprint(unix.SYS_FCNTL, " ")) {
			return true
		}
	}
	return false
}
