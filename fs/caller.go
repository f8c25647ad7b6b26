package fs

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// go-fuse hands a node the caller of a request but not the rest of its header.
// Linux pids end below 1<<22 (PID_MAX_LIMIT), so rawBridge carries what a
// node needs to know besides in the ten bits above.
const (
	pidMask    = 1<<22 - 1
	extraShift = 22

	// Creating requests: the caller's umask.
	extraUmask = 0777 << extraShift
	// WRITE and OPEN with O_TRUNC: the caller may not keep set-id bits
	// (FUSE_WRITE_KILL_SUIDGID, FUSE_OPEN_KILL_SUIDGID).
	extraKillPriv = 1 << 31
	// WRITE: the file description has O_APPEND now (fcntl F_SETFL changes it).
	extraAppend = 1 << extraShift
)

// caller is the process behind a request, seen from the daemon's namespaces.
type caller struct {
	uid, gid uint32
	pid      uint32 // of the thread; 0 if it is outside our pid namespace
	extra    uint32 // the bits described above, in place
}

func callerOf(ctx context.Context) caller {
	c, ok := fuse.FromContext(ctx)
	if !ok {
		return caller{}
	}
	return caller{uid: c.Uid, gid: c.Gid, pid: c.Pid & pidMask, extra: c.Pid &^ pidMask}
}

func (c caller) umask() uint32  { return c.extra & extraUmask >> extraShift }
func (c caller) killPriv() bool { return c.extra&extraKillPriv != 0 }
func (c caller) appends() bool  { return c.extra&extraAppend != 0 }

// inGroup reports whether the caller belongs to gid.
func (c caller) inGroup(gid uint32) bool {
	if c.gid == gid {
		return true
	}
	for _, g := range c.groups() {
		if g == gid {
			return true
		}
	}
	return false
}

// groups reads the caller's supplementary groups, which FUSE does not send,
// from /proc. Nil if the caller is gone or out of sight: it then counts as a
// member of its primary group alone, which never grants too much.
func (c caller) groups() []uint32 {
	if c.pid == 0 {
		return nil
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(int(c.pid)) + "/status")
	if err != nil {
		return nil
	}
	_, rest, ok := bytes.Cut(status, []byte("\nGroups:"))
	if !ok {
		return nil
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	fields := bytes.Fields(line)
	groups := make([]uint32, 0, len(fields))
	for _, f := range fields {
		g, err := strconv.ParseUint(string(f), 10, 32)
		if err != nil {
			return nil
		}
		groups = append(groups, uint32(g))
	}
	return groups
}

// identity is who the daemon itself is.
type identity struct {
	uid, gid uint32
	groups   []uint32
	// switches tells that the daemon may act as its callers (it is root with
	// CAP_SETUID and CAP_SETGID). Otherwise it serves with its own rights.
	switches bool
}

func ownIdentity() identity {
	id := identity{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
	groups, err := unix.Getgroups()
	if err == nil {
		for _, g := range groups {
			id.groups = append(id.groups, uint32(g))
		}
	}
	if id.uid == 0 {
		id.switches = id.canSwitch()
	}
	return id
}

// canSwitch tries whether this thread may become somebody else.
func (id identity) canSwitch() bool {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if setgroups(id.groups) != 0 || !setfsgid(id.gid+1) {
		return false
	}
	ok := setfsuid(id.uid + 1)
	return setfsuid(id.uid) && setfsgid(id.gid) && ok
}

// run calls fn with the caller's fsuid, fsgid and, if withGroups, its
// supplementary groups (else none), on a thread of its own, and restores the
// thread. The kernel takes the capabilities that override file permissions
// from the thread along with fsuid 0 (capabilities(7)).
//
// The raw system calls matter: Go's own setters change every thread.
func (id identity) run(c caller, withGroups bool, fn func() syscall.Errno) syscall.Errno {
	if !id.switches || (c.uid == id.uid && c.gid == id.gid) {
		return fn()
	}
	// Groups decide nothing for a caller that keeps CAP_DAC_OVERRIDE and
	// CAP_FSETID, which is what fsuid 0 means.
	var groups []uint32
	changeGroups := c.uid != 0 && (withGroups || len(id.groups) > 0)
	if changeGroups && withGroups {
		groups = c.groups()
	}

	runtime.LockOSThread()
	if changeGroups {
		if errno := setgroups(groups); errno != 0 {
			runtime.UnlockOSThread()
			return errno
		}
	}
	errno := syscall.EPERM // an id that our user namespace does not map
	if setfsgid(c.gid) && setfsuid(c.uid) {
		errno = fn()
	}
	restored := setfsuid(id.uid) && setfsgid(id.gid)
	if changeGroups {
		restored = setgroups(id.groups) == 0 && restored
	}
	if !restored {
		panic("fs: thread cannot get its own credentials back")
	}
	runtime.UnlockOSThread()
	return errno
}

// runDenied is run without the caller's groups, which are expensive to learn,
// and with them if it turns out that they may decide.
func (id identity) runDenied(c caller, fn func() syscall.Errno) syscall.Errno {
	errno := id.run(c, false, fn)
	if (errno == syscall.EACCES || errno == syscall.EPERM) && id.switches && c.uid != 0 {
		return id.run(c, true, fn)
	}
	return errno
}

// setfsuid and setfsgid report whether the thread has the id now. The calls
// themselves return the previous id and no error; an invalid id only asks.
func setfsuid(uid uint32) bool {
	syscall.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0)
	now, _, _ := syscall.RawSyscall(unix.SYS_SETFSUID, ^uintptr(0), 0, 0)
	return uint32(now) == uid
}

func setfsgid(gid uint32) bool {
	syscall.RawSyscall(unix.SYS_SETFSGID, uintptr(gid), 0, 0)
	now, _, _ := syscall.RawSyscall(unix.SYS_SETFSGID, ^uintptr(0), 0, 0)
	return uint32(now) == gid
}

func setgroups(groups []uint32) syscall.Errno {
	var p unsafe.Pointer
	if len(groups) > 0 {
		p = unsafe.Pointer(&groups[0])
	}
	_, _, errno := syscall.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(p), 0)
	return errno
}
