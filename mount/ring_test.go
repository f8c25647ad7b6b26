package mount

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"golang.org/x/sys/unix"
)

const enableUring = "/sys/module/fuse/parameters/enable_uring"

// switchRing sets the host's switch for FUSE-over-io_uring for one test, which
// is alone with it: others who do so hold the same lock.
func switchRing(t *testing.T, on string) {
	t.Helper()
	needFuse(t)
	was, err := os.ReadFile(enableUring)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this kernel has no FUSE-over-io_uring")
	}
	if os.Getenv("URINGFS_TRANSPORT") == "uring" {
		t.Skip("the switch belongs to whoever set URINGFS_TRANSPORT")
	}
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "enable_uring.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err == nil {
		err = os.WriteFile(enableUring, []byte(on), 0)
	}
	if err != nil {
		t.Skipf("cannot switch FUSE-over-io_uring: %v", err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(enableUring, was, 0); err != nil {
			t.Error(err)
		}
		lock.Close()
	})
}

func TestAutoTakesTheRingWhereItIsOffered(t *testing.T) {
	for _, c := range []struct {
		on       string
		maxWrite int
		want     Transport
		reason   string
	}{
		{"Y", 0, TransportUring, "auto"},
		{"N", 0, TransportDev, "switched off"},
		{"Y", 64 << 10, TransportDev, "max_write=65536 is too small"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			switchRing(t, c.on)
			f := mountTest(t, Options{MaxWrite: c.maxWrite})
			if got, reason := f.Transport(); got != c.want || !strings.Contains(reason, c.reason) {
				t.Errorf("transport %s because %q", got, reason)
			}
			if got := cat(t, filepath.Join(f.dir, "greeting")); got != "hello\n" {
				t.Errorf("read %q", got)
			}
		})
	}
}

// TestPanicOfATransferIsAnError: the request is answered, and the queue goes on.
func TestPanicOfATransferIsAnError(t *testing.T) {
	switchRing(t, "Y")
	f := mountTest(t, Options{Transport: TransportUring})
	panics := filepath.Join(f.dir, "panics")
	for range 3 {
		for _, script := range []string{"cat " + panics, "/bin/echo x 1<>" + panics} {
			out, err := exec.Command("timeout", "60", "sh", "-c", script).CombinedOutput()
			if err == nil || !strings.HasSuffix(strings.TrimSpace(string(out)), "error") {
				t.Errorf("%s: %v: %s", script, err, out)
			}
		}
	}
	if got := cat(t, filepath.Join(f.dir, "greeting")); got != "hello\n" {
		t.Errorf("read %q", got)
	}
	if !strings.Contains(f.log.String(), "panic") {
		t.Errorf("the log says nothing: %s", f.log)
	}
}

// hinted is an error with a remedy.
type hinted interface{ Hint() string }

func TestRingThatCannotBeHadIsAnError(t *testing.T) {
	switchRing(t, "N")
	_, err := New(Nodes(&testRoot{}, fusefs.Options{}), t.TempDir(), Options{Transport: TransportUring})
	var h hinted
	if !errors.Is(err, ErrTransport) || !errors.As(err, &h) || !strings.Contains(h.Hint(), "echo Y >") {
		t.Errorf("New: %v", err)
	}
}

// TestRingSurvivesTheSwitch: what is mounted goes on when the switch goes off.
func TestRingSurvivesTheSwitch(t *testing.T) {
	switchRing(t, "Y")
	f := mountTest(t, Options{Transport: TransportUring})
	if err := os.WriteFile(enableUring, []byte("N"), 0); err != nil {
		t.Fatal(err)
	}
	if got := cat(t, filepath.Join(f.dir, "greeting")); got != "hello\n" {
		t.Errorf("read %q", got)
	}
}

// TestRingMountLeavesNoThreadsAndDescriptors mounts and unmounts a few times.
func TestRingMountLeavesNoThreadsAndDescriptors(t *testing.T) {
	switchRing(t, "Y")
	count := func(dir string) int {
		names, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	cycle := func() {
		m, err := New(Nodes(&testRoot{}, fusefs.Options{}), t.TempDir(), Options{Transport: TransportUring})
		if err != nil {
			t.Fatal(err)
		}
		if got := cat(t, filepath.Join(m.Mountpoint(), "greeting")); got != "hello\n" {
			t.Errorf("read %q", got)
		}
		if outcome, err := m.Unmount(Stages{}); outcome != Clean || err != nil {
			t.Errorf("Unmount: %v, %v", outcome, err)
		}
	}
	cycle()
	fds, threads := count("/proc/self/fd"), count("/proc/self/task")
	for range 20 {
		cycle()
	}
	if now := count("/proc/self/fd"); now > fds {
		t.Errorf("%d descriptors, %d before", now, fds)
	}
	// Go keeps threads it does not need; a queue each time would be 40.
	if now := count("/proc/self/task"); now > threads+15 {
		t.Errorf("%d threads, %d before", now, threads)
	}
}
