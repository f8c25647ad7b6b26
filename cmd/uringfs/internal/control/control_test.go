package control

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestGetReturnsTheSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s", "1.sock")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !Alive(path) || Alive(path+"x") {
		t.Error("Alive does not tell whether somebody listens")
	}
	// The first comes before Serve, and waits.
	early := make(chan error, 1) // the one result
	go func() {
		var got map[string]int
		early <- Get(path, &got)
	}()
	s.Serve(func() any { return map[string]int{"completed": 7} })
	if err := <-early; err != nil {
		t.Error(err)
	}
	for range 3 {
		var got map[string]int
		if err := Get(path, &got); err != nil || got["completed"] != 7 {
			t.Errorf("Get: %v, %v", got, err)
		}
	}
}

func TestCloseRemovesTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s", "1.sock")
	s, err := Listen(path)
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
	s, err := Listen(path)
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
	if s, err := Listen(filepath.Join(dir, "1.sock")); err == nil {
		s.Close()
		t.Error("a directory of another user was used")
	}
}

// TestOtherFilesAreLeftAlone: a path on the command line may be a slip.
func TestOtherFilesAreLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Listen(path); err == nil {
		s.Close()
		t.Error("a file was replaced by a socket")
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "x" {
		t.Errorf("the file: %q, %v", text, err)
	}
}

// TestCloseLeavesTheNextSocket: a daemon that ends must not take away the socket
// of a mount that has got its connection number.
func TestCloseLeavesTheNextSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.sock")
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if !Alive(path) {
		t.Error("the second socket is gone")
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("socket left over: %v", err)
	}
}
