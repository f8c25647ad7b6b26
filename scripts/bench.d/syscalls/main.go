// Syscalls times system calls that fio has no engine for, one after the other
// on one thread, and prints a JSON object {"ops": N, "seconds": S}.
//
// The calls are raw: the Go scheduler is not told that they block, so that its
// hand-offs do not show in the figure.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stat makes n statx calls on path that the kernel may not answer from its
// attribute cache (AT_STATX_FORCE_SYNC): each is one GETATTR on a FUSE mount.
func stat(path *byte, n int) error {
	var st unix.Statx_t
	for range n {
		if _, _, errno := unix.RawSyscall6(unix.SYS_STATX, uintptr(cwd), uintptr(unsafe.Pointer(path)),
			unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(&st)), 0); errno != 0 {
			return fmt.Errorf("statx: %w", errno)
		}
	}
	return nil
}

// openClose makes n pairs of open(O_RDONLY) and close: OPEN, FLUSH and RELEASE.
func openClose(path *byte, n int) error {
	for range n {
		fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(path)),
			unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
		if errno != 0 {
			return fmt.Errorf("openat: %w", errno)
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0); errno != 0 {
			return fmt.Errorf("close: %w", errno)
		}
	}
	return nil
}

// cwd is AT_FDCWD in a variable: the negative constant does not convert to uintptr.
var cwd = unix.AT_FDCWD

var calls = map[string]func(path *byte, n int) error{"stat": stat, "open-close": openClose}

func run() error {
	duration := flag.Duration("time", time.Second, "how long to go on")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: syscalls [-time 1s] stat|open-close FILE")
		flag.PrintDefaults()
	}
	flag.Parse()
	call := calls[flag.Arg(0)]
	if call == nil || flag.NArg() != 2 {
		flag.Usage()
		return fmt.Errorf("want a call and a file")
	}
	path, err := unix.BytePtrFromString(flag.Arg(1))
	if err != nil {
		return err
	}

	runtime.LockOSThread()
	const batch = 64 // calls between two looks at the clock
	start, ops := time.Now(), 0
	for time.Since(start) < *duration {
		if err := call(path, batch); err != nil {
			return err
		}
		ops += batch
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"ops": ops, "seconds": time.Since(start).Seconds()})
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "syscalls:", err)
		os.Exit(1)
	}
}
