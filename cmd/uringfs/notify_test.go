package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/mount"
)

// TestSystemdIsToldWhenTheMountIsUsable: Type=notify must not let dependants
// start before INIT was answered.
func TestSystemdIsToldWhenTheMountIsUsable(t *testing.T) {
	source, mountpoint := sourceAndMountpoint(t)
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	messages := make(chan string, 16) // more than are sent
	// Ends when the socket is closed, by the deferred Close.
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := socket.Read(buf)
			if err != nil {
				return
			}
			messages <- string(buf[:n])
		}
	}()
	defer socket.Close()

	cmd := uringfs("-f", source, mountpoint)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := within(t, "READY=1", messages)
	if !strings.Contains(ready, "READY=1") || !strings.Contains(ready, "STATUS=serving "+source) {
		t.Errorf("first message %q", ready)
	}
	if _, ok, err := mount.At(mountpoint); err != nil || !ok {
		t.Errorf("ready before it was mounted: %v", err)
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := within(t, "STOPPING=1", messages); !strings.Contains(got, "STOPPING=1") {
		t.Errorf("message after SIGTERM %q", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
