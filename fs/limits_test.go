package fs_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What docs/CONFORMANCE.md says the kernel keeps from a FUSE daemon fails as it
// says there. Where this fails with "as the plain file", a newer kernel has learned
// it, and the page can lose a line.
func TestWhatFuseCannot(t *testing.T) {
	needRoot(t)
	base := t.TempDir()
	source := filepath.Join(base, "source")
	if err := os.Mkdir(source, 0755); err != nil {
		t.Fatal(err)
	}
	d := startMount(t, serveConfig{Source: source, Options: cached}, nil)
	fd := openRW(t, d.dir, "f", 0)
	defer unix.Close(fd)
	plain := openRW(t, base, "plain", 0)
	defer unix.Close(plain)
	for _, f := range []int{fd, plain} {
		if _, err := unix.Pwrite(f, make([]byte, 1<<20), 0); err != nil {
			t.Fatal(err)
		}
		if err := unix.Fsync(f); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 4096)
	rwf := func(flags int) func(fd int) error {
		return func(fd int) error { _, err := unix.Preadv2(fd, [][]byte{buf}, 0, flags); return err }
	}
	falloc := func(mode uint32) func(fd int) error {
		return func(fd int) error { return unix.Fallocate(fd, mode, 0, 4096) }
	}
	for _, tc := range []struct {
		name string
		call func(fd int) error
		want error
	}{
		{"FALLOC_FL_COLLAPSE_RANGE", falloc(unix.FALLOC_FL_COLLAPSE_RANGE), unix.EOPNOTSUPP},
		{"FALLOC_FL_INSERT_RANGE", falloc(unix.FALLOC_FL_INSERT_RANGE), unix.EOPNOTSUPP},
		{"FALLOC_FL_UNSHARE_RANGE", falloc(unix.FALLOC_FL_UNSHARE_RANGE), unix.EOPNOTSUPP},
		{"FICLONE", func(fd int) error { return unix.IoctlFileClone(fd, fd) }, unix.EOPNOTSUPP},
		{"FS_IOC_FIEMAP", func(fd int) error {
			var m [32]byte // struct fiemap for no extents
			return ioctlPtr(fd, 0xc020660b, unsafe.Pointer(&m))
		}, unix.EOPNOTSUPP},
		{"RWF_NOWAIT", rwf(unix.RWF_NOWAIT), unix.EOPNOTSUPP},
		{"RWF_DONTCACHE", rwf(0x80), unix.EOPNOTSUPP},
		{"FS_IOC_GETFSLABEL", func(fd int) error {
			var label [256]byte
			return ioctlPtr(fd, 0x81009431, unsafe.Pointer(&label))
		}, unix.ENOTTY},
	} {
		switch err := tc.call(fd); {
		case err == tc.want:
		case err == tc.call(plain):
			t.Errorf("%s: %v, as the plain file", tc.name, err)
		default:
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	// Swapping needs to know where blocks are.
	name, err := unix.BytePtrFromString(filepath.Join(d.dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(name)), 0, 0); errno != unix.EINVAL {
		t.Errorf("swapon: %v", errno)
	}
	// Sync of the mount alone writes what it has dirty.
	if err := unix.Syncfs(fd); err != nil {
		t.Errorf("syncfs: %v", err)
	}
}

// With remote locks the kernel does not say that a lock belongs to an open file
// description: a circle of them ends as one of processes does.
func TestCircleOfDescriptions(t *testing.T) {
	d := startMount(t, serveConfig{Source: t.TempDir(), Options: testOptions{RemoteLocks: true}}, nil)
	a, b := openRW(t, d.dir, "f", 0), openRW(t, d.dir, "f", 0)
	defer unix.Close(a)
	lock := func(fd, cmd int, start int64) error {
		return unix.FcntlFlock(uintptr(fd), cmd, &unix.Flock_t{Type: unix.F_WRLCK, Start: start, Len: 1})
	}
	if err := lock(a, unix.F_OFD_SETLK, 0); err != nil {
		t.Fatal(err)
	}
	if err := lock(b, unix.F_OFD_SETLK, 1); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() { got <- lock(a, unix.F_OFD_SETLKW, 1) }() // ends with b
	waitFor(t, func() bool { return threadsIn(os.Getpid(), unix.SYS_FCNTL) == 1 })
	if err := lock(b, unix.F_OFD_SETLKW, 0); err != unix.EDEADLK {
		t.Errorf("the circle: %v", err)
	}
	held := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(uintptr(a), unix.F_GETLK, &held); err != nil || held.Pid != int32(os.Getpid()) {
		t.Errorf("F_GETLK: process %d, %v", held.Pid, err)
	}
	unix.Close(b)
	select {
	case err := <-got:
		if err != nil {
			t.Errorf("the other half: %v", err)
		}
	case <-time.After(time.Minute):
		t.Error("the other half still waits")
	}
}
