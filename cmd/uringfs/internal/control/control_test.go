package control

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestGetReturnsTheSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s", "1.sock")
	s, err := Listen(path, func() any { return map[string]int{"completed": 7} })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 3 {
		var got map[string]int
		if err := Get(path, &got); err != nil || got["completed"] != 7 {
			t.Errorf("Get: %v, %v", got, err)
		}
	}
}

func TestCloseRemovesTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s", "1.sock")
	s, err := Listen(path, func() any { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("socket left over: %v", err)
	}
}

// TestLeftOverSocketIsReplaced: after SIGKILL the file stays, and the kernel
// gives connection numbers out again.
func TestLeftOverSocketIsReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	path := filepath.Join(dir, "1.sock")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s, err := Listen(path, func() any { return nil })
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// TestForeignDirectoryIsRefused: in /tmp anybody can make our directory first.
func TestForeignDirectoryIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make a directory of another user")
	}
	dir := filepath.Join(t.TempDir(), "s")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if s, err := Listen(filepath.Join(dir, "1.sock"), func() any { return nil }); err == nil {
		s.Close()
		t.Error("a directory of another user was used")
	}
}
