package fs

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"slices"
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
	return c.gid == gid || slices.Contains(c.credentials().groups, gid)
}

// credentials are what FUSE does not tell of a caller.
type credentials struct {
	groups []uint32 // supplementary
	caps   uint64   // effective, 1<<CAP_*, in the caller's user namespace
}

// credentials reads them from /proc. They are empty if the caller is gone or out
// of sight: it then counts as a member of its primary group alone, which never
// grants too much.
func (c caller) credentials() (got credentials) {
	broken := false
	c.readStatus(func(key string, value []byte) {
		var err error
		switch key {
		case "Groups":
			for _, f := range bytes.Fields(value) {
				var g uint64
				if g, err = strconv.ParseUint(string(f), 10, 32); err != nil {
					break
				}
				got.groups = append(got.groups, uint32(g))
			}
		case "CapEff":
			got.caps, err = strconv.ParseUint(string(value), 16, 64)
		}
		broken = broken || err != nil
	})
	if broken {
		return credentials{}
	}
	return got
}

// readStatus calls each for the lines of /proc/PID/status, for none if the caller
// is gone or out of sight.
func (c caller) readStatus(each func(key string, value []byte)) {
	if c.pid == 0 {
		return
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(int(c.pid)) + "/status")
	if err != nil {
		return
	}
	for line := range bytes.Lines(status) {
		key, value, _ := bytes.Cut(line, []byte(":"))
		each(string(key), bytes.TrimSpace(value))
	}
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

// part is how much of the caller's credentials a call is made with. All but its
// ids are expensive to learn.
type part int

const (
	idsOnly    part = iota // fsuid and fsgid
	withGroups             // and supplementary groups
	withCaps               // and those of the capabilities in lentCaps that it has
)

// lentCaps are what somebody other than root may have, to do what its ids and
// groups would not let it: root of a user namespace, for one. Whether they reach
// the inode at hand is for the kernel to say, so that they are lent only for what
// it has checked (default_permissions). CAP_FSETID is none of them: kernels before
// 6.0 leave it to the filesystem to look at the caller's namespace.
const lentCaps = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FOWNER | 1<<unix.CAP_MKNOD

// run calls fn with that part of the caller's credentials on a thread of its own,
// and restores the thread. The kernel takes the capabilities that override file
// permissions from the thread along with fsuid 0 (capabilities(7)); run takes the
// one that overrides quotas.
//
// The raw system calls matter: Go's own setters change every thread.
func (id identity) run(c caller, with part, fn func() syscall.Errno) syscall.Errno {
	if !id.switches || (c.uid == id.uid && c.gid == id.gid) {
		return fn()
	}
	// Groups decide nothing for a caller that keeps CAP_DAC_OVERRIDE and
	// CAP_FSETID, which is what fsuid 0 means.
	var cred credentials
	changeGroups := c.uid != 0 && (with != idsOnly || len(id.groups) > 0)
	if changeGroups && with != idsOnly {
		cred = c.credentials()
	}

	runtime.LockOSThread()
	if changeGroups {
		if errno := setgroups(cred.groups); errno != 0 {
			runtime.UnlockOSThread()
			return errno
		}
	}
	errno := syscall.EPERM // an id that our user namespace does not map
	var taken uint32
	if setfsgid(c.gid) && setfsuid(c.uid) {
		var lent, unlimited uint32
		if with == withCaps {
			lent = uint32(cred.caps & lentCaps)
		}
		if c.uid != 0 {
			unlimited = 1 << unix.CAP_SYS_RESOURCE // with it no quota binds
		}
		if taken, errno = changeCaps(lent, unlimited); errno == 0 {
			errno = fn()
		}
	}
	// fsuid 0 brings back what it took, and what was raised is among it.
	restored := setfsuid(id.uid) && setfsgid(id.gid)
	if taken != 0 {
		_, errno := changeCaps(taken, 0)
		restored = errno == 0 && restored
	}
	if changeGroups {
		restored = setgroups(id.groups) == 0 && restored
	}
	if !restored {
		panic("fs: thread cannot get its own credentials back")
	}
	runtime.UnlockOSThread()
	return errno
}

// changeCaps makes more of the capabilities 0 to 31 effective on the calling thread,
// as far as it is permitted them, and less not. It returns those that it took away.
func changeCaps(more, less uint32) (taken uint32, errno syscall.Errno) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // of capabilities 0 to 31 and 32 to 63
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, toErrno(err)
	}
	was := data[0].Effective
	data[0].Effective = (was | more&data[0].Permitted) &^ less
	if data[0].Effective == was {
		return 0, 0
	}
	return was & less, toErrno(unix.Capset(&header, &data[0]))
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
