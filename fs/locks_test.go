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

	"github.com/uringfs/uringfs/mount"
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
	case <-time.After(time.Minute):
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
		case "glance": // opens the file once more and closes that
			g, err := os.Open(path)
			if err == nil {
				err = g.Close()
			}
			fmt.Println(result(err))
			continue
		case "dup": // and closes the duplicate
			fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err == nil {
				err = unix.Close(fd)
			}
			fmt.Println(result(err))
			continue
		case "child": // inherits the descriptor and ends
			cmd := exec.Command("/bin/true")
			cmd.ExtraFiles = []*os.File{f}
			fmt.Println(result(cmd.Run()))
			continue
		case "flock", "flockwait":
			how := map[string]int{"sh": unix.LOCK_SH, "ex": unix.LOCK_EX, "un": unix.LOCK_UN}[args[1]]
			if args[0] == "flock" {
				how |= unix.LOCK_NB
			}
			fmt.Println(result(unix.Flock(int(f.Fd()), how)))
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
	for _, transport := range append(transports(t), "") {
		remote := transport != "" // where it matters
		t.Run(fmt.Sprintf("remote=%v %s", remote, transport), func(t *testing.T) {
			source := t.TempDir()
			if err := os.WriteFile(filepath.Join(source, "f"), make([]byte, 100), 0644); err != nil {
				t.Fatal(err)
			}
			d := startMount(t, serveConfig{Source: source, Transport: transport, Options: testOptions{
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
			// A lock changes its kind when nobody is against it.
			f.do("flock sh", "0")
			f.do("flock ex", "EAGAIN")
			f.start("flockwait ex")
			waitFor(t, func() bool { return blockedIn(f.cmd.Process.Pid) })
			c.do("flock un", "0")
			if got := f.result(); got != "0" {
				t.Errorf("flock that was to become exclusive: %s", got)
			}
			// Children and duplicates take no lock with them: it goes with the
			// last descriptor of the description. But record locks go with any
			// descriptor of the file that the process closes.
			f.do("child", "0")
			c.do("w 0 0", "EAGAIN")
			f.do("dup", "0")
			c.do("w 0 0", "0")
			c.do("u 0 0", "0")
			c.do("flock sh", "EAGAIN")
			f.do("w 0 1", "0")
			f.do("glance", "0")
			c.do("w 0 1", "0")
			c.do("flock sh", "EAGAIN")
			g := startLocker(t, path)
			g.start("flockwait sh")
			waitFor(t, func() bool { return blockedIn(g.cmd.Process.Pid) })
			g.cmd.Process.Kill()
			g.cmd.Wait()
			f.start("close")
			f.result()
			c.do("flockwait ex", "0")
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

// However many wait for a remote lock, they hold up nobody: not the one who
// releases it, nor anybody with other business. (A bound on calls that block once
// was full of them, and the mount hung.)
func TestManyWaitForALock(t *testing.T) {
	crowd := 100
	if os.Getenv("URINGFS_TEST_LONG") != "" {
		crowd = 1500 // more than half of what a queue of the ring holds
	}
	flock := func(fd, how int) error { return unix.Flock(fd, how) }
	record := func(fd, how int) error {
		lk, cmd := unix.Flock_t{Type: unix.F_WRLCK}, unix.F_OFD_SETLKW
		if how == unix.LOCK_UN {
			lk.Type, cmd = unix.F_UNLCK, unix.F_OFD_SETLK
		}
		return unix.FcntlFlock(uintptr(fd), cmd, &lk)
	}
	for _, transport := range transports(t) {
		for _, kind := range []struct {
			name   string
			lock   func(fd, how int) error
			number int
		}{{"flock", flock, unix.SYS_FLOCK}, {"record", record, unix.SYS_FCNTL}} {
			t.Run(fmt.Sprint(kind.name, " over ", transport), func(t *testing.T) {
				d := startMount(t, serveConfig{Source: t.TempDir(), Transport: transport, Options: testOptions{RemoteLocks: true}}, nil)
				holder := openRW(t, d.dir, "f", 0)
				defer unix.Close(holder)
				if err := kind.lock(holder, unix.LOCK_EX); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, crowd) // for all of them
				refused := 0
				for range crowd {
					fd := openRW(t, d.dir, "f", 0)
					go func() { // ends with its lock, at the latest with the mount
						err := kind.lock(fd, unix.LOCK_EX)
						if err == nil {
							err = kind.lock(fd, unix.LOCK_UN)
						}
						unix.Close(fd)
						ended <- err
					}()
				}
				waitFor(t, func() bool { return threadsIn(os.Getpid(), kind.number)+len(ended) == crowd })
				write(t, filepath.Join(d.dir, "g"), "others go on")
				if err := os.Remove(filepath.Join(d.dir, "g")); err != nil {
					t.Error(err)
				}
				if err := kind.lock(holder, unix.LOCK_UN); err != nil {
					t.Fatal(err)
				}
				for range crowd {
					select {
					case err := <-ended:
						if err == unix.ENOLCK && transport == mount.TransportUring {
							refused++ // for want of places
						} else if err != nil {
							t.Errorf("a waiter got %v", err)
						}
					case <-time.After(time.Minute):
						t.Fatal("waiters hang")
					}
				}
				t.Logf("%d waited, %d were refused", crowd-refused, refused)
			})
		}
	}
}

func waitFor(t *testing.T, cond func() bool) {
	t.Helper()
	for range 10_000 { // a minute
		if cond() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("waited in vain")
}

// blockedIn reports whether a thread of the process waits for a lock.
func blockedIn(pid int) bool {
	return threadsIn(pid, unix.SYS_FCNTL) > 0 || threadsIn(pid, unix.SYS_FLOCK) > 0
}

// threadsIn counts the threads of the process that sleep in a system call.
func threadsIn(pid, number int) (n int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/syscall", pid))
	for _, path := range tasks {
		b, _ := os.ReadFile(path)
		if strings.HasPrefix(string(b), fmt.Sprint(number, " ")) {
			n++
		}
	}
	return n
}
