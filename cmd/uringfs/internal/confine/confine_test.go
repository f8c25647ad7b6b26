package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inChild makes the test binary apply the confinement and try things, since it
// cannot be undone.
const inChild = "CONFINE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(inChild) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// child prints a line for each thing that it finds wrong.
func child() (code int) {
	wrong := func(format string, args ...any) {
		fmt.Printf(format+"\n", args...)
		code = 1
	}
	// A thread that exists before must be confined too.
	try, tried := make(chan func() error), make(chan error)
	go func() {
		runtime.LockOSThread()
		for f := range try {
			tried <- f()
		}
	}()
	file, err := os.CreateTemp("", "confine")
	if err != nil {
		wrong("%v", err)
		return code
	}
	defer os.Remove(file.Name())
	err = Apply()
	cgo := errors.Is(err, errCgo)
	if err != nil && !cgo {
		wrong("Apply: %v", err)
		return code
	}
	for name, f := range map[string]func() error{
		"execve":         func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) },
		"io_uring_setup": func() error { _, _, e := syscall.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); return e },
		"mount":          func() error { return unix.Mount("none", "/proc", "tmpfs", 0, "") },
		"ptrace":         func() error { return unix.PtraceAttach(1) },
		"bpf":            func() error { _, _, e := syscall.Syscall(unix.SYS_BPF, 0, 0, 0); return e },
	} {
		if err := f(); !errors.Is(err, syscall.EPERM) {
			wrong("%s: %v", name, err)
		}
		try <- f
		if err := <-tried; !errors.Is(err, syscall.EPERM) {
			wrong("%s on a thread from before: %v", name, err)
		}
	}
	// What a file server does goes on.
	for name, err := range map[string]error{
		"chown":    file.Chown(12345, 12345),
		"unlink":   os.Remove(file.Name()),
		"mknod":    unix.Mknod(file.Name(), unix.S_IFIFO|0o600, 0),
		"setgid":   unix.Chmod(file.Name(), 0o2600),
		"setxattr": ignore(unix.Setxattr(file.Name(), "user.a", []byte("b"), 0), unix.ENOTSUP, unix.EPERM),
	} {
		if err != nil {
			wrong("%s: %v", name, err)
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1") || !strings.Contains(string(status), "Seccomp:\t2") {
		wrong("status: %v\n%s", err, status)
	}
	if cgo {
		return code // all but the capabilities
	}
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, task := range tasks {
		status, err := os.ReadFile("/proc/self/task/" + task.Name() + "/status")
		if err != nil {
			continue
		}
		var effective, bounding uint64
		for line := range strings.Lines(string(status)) {
			fmt.Sscanf(line, "CapEff:\t%x", &effective)
			fmt.Sscanf(line, "CapBnd:\t%x", &bounding)
		}
		for _, c := range []int{unix.CAP_NET_ADMIN, unix.CAP_SYS_MODULE, unix.CAP_SYS_BOOT, unix.CAP_SYS_TIME, unix.CAP_BPF} {
			if (effective|bounding)&(1<<c) != 0 {
				wrong("thread %s keeps capability %d", task.Name(), c)
			}
		}
	}
	return code
}

func ignore(err error, allowed ...error) error {
	for _, a := range allowed {
		if errors.Is(err, a) {
			return nil
		}
	}
	return err
}

func TestConfinedProcess(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), inChild+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}

func TestUmountStaysAllowed(t *testing.T) {
	for _, name := range Denied() {
		if name == "umount2" || name == "umount" {
			t.Errorf("%s is denied, and the daemon could not unmount", name)
		}
	}
}
