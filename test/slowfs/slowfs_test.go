package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// mountSlow mounts an empty directory and returns its path on the mount.
func mountSlow(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs /dev/fuse and root")
		}
		t.Skip("needs /dev/fuse and root")
	}
	g := newGate()
	if err := g.setOps("read,write"); err != nil {
		t.Fatal(err)
	}
	mnt := t.TempDir()
	server, err := mount(t.TempDir(), mnt, g)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.command("release")
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return mnt
}

func steer(t *testing.T, mnt, line string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(mnt, controlName), []byte(line+"\n"), 0); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
}

func status(t *testing.T, mnt string) (waiting, passed, interrupted int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(mnt, controlName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(data), "waiting %d\npassed %d\ninterrupted %d\n", &waiting, &passed, &interrupted); err != nil {
		t.Fatalf("%v: %q", err, data)
	}
	return waiting, passed, interrupted
}

// awaitWaiting returns when n operations wait.
func awaitWaiting(t *testing.T, mnt string, n int) {
	t.Helper()
	for start := time.Now(); time.Since(start) < time.Minute; {
		if w, _, _ := status(t, mnt); w == n {
			return
		}
	}
	w, p, i := status(t, mnt)
	t.Fatalf("waiting %d, passed %d, interrupted %d; want %d waiting", w, p, i, n)
}

// What is not slow passes at once, and data comes out as it went in.
func TestPassThrough(t *testing.T) {
	mnt := mountSlow(t)
	want := strings.Repeat("0123456789abcdef", 70_000)
	if err := os.WriteFile(mnt+"/f", []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(mnt + "/f")
	if err != nil || string(got) != want {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	if _, passed, _ := status(t, mnt); passed != 0 {
		t.Errorf("%d operations were slow", passed)
	}
}

func TestDelay(t *testing.T) {
	mnt := mountSlow(t)
	if err := os.WriteFile(mnt+"/f", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	steer(t, mnt, "delay 50ms")
	start := time.Now()
	if _, err := os.ReadFile(mnt + "/f"); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 50*time.Millisecond {
		t.Errorf("read took %v", d)
	}
}

// Readers hang until the release while metadata and the control file answer.
func TestHangAndRelease(t *testing.T) {
	mnt := mountSlow(t)
	if err := os.WriteFile(mnt+"/f", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	steer(t, mnt, "hang")
	const readers = 20
	errs := make(chan error, readers)
	for range readers {
		go func() { // ends when released, below
			_, err := os.ReadFile(mnt + "/f")
			errs <- err
		}()
	}
	awaitWaiting(t, mnt, readers)
	if _, err := os.Stat(mnt + "/f"); err != nil {
		t.Error(err)
	}
	steer(t, mnt, "release")
	for range readers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	awaitWaiting(t, mnt, 0)
}

// A killed reader is gone at once where interrupts are honoured, and only
// after the release where they are ignored.
func TestInterrupt(t *testing.T) {
	for _, how := range []string{"honour", "ignore"} {
		t.Run(how, func(t *testing.T) {
			mnt := mountSlow(t)
			if err := os.WriteFile(mnt+"/f", []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			steer(t, mnt, "hang\ninterrupt "+how)
			reader := exec.Command("cat", mnt+"/f")
			if err := reader.Start(); err != nil {
				t.Fatal(err)
			}
			awaitWaiting(t, mnt, 1)
			if err := reader.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if how == "ignore" {
				steer(t, mnt, "release")
			}
			var killed *exec.ExitError
			if err := reader.Wait(); !errors.As(err, &killed) {
				t.Errorf("the reader ended with %v", err)
			}
			awaitWaiting(t, mnt, 0)
			_, _, interrupted := status(t, mnt)
			if (interrupted == 1) != (how == "honour") {
				t.Errorf("%d interrupted", interrupted)
			}
		})
	}
}

func TestControlRefusesNonsense(t *testing.T) {
	mnt := mountSlow(t)
	for _, line := range []string{"nonsense", "delay", "delay x", "ops read,chew", "interrupt maybe"} {
		err := os.WriteFile(filepath.Join(mnt, controlName), []byte(line+"\n"), 0)
		if !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%q: %v", line, err)
		}
	}
}
