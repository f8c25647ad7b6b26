package fs_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// actEnv makes the test binary an actor: it runs a script of system calls in a
// directory, as several users, and prints what each call answered. The same
// script run on the mount and on the plain backing must answer the same.
const actEnv = "URINGFS_TEST_ACT" // value: the directory

// A script has one call a line:
//
//	USER CALL ARGUMENT...
//
// USER is uid:gid or uid:gid:group,group. Arguments have no spaces; - stands
// for an empty one.

// runScript runs script in a new directory dir with mode 0777, by an actor that
// is started with attr, and returns the transcript, one line a step.
func runScript(dir string, script []string, attr *syscall.SysProcAttr) ([]string, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), actEnv+"="+dir)
	cmd.Stdin = strings.NewReader(strings.Join(script, "\n"))
	cmd.SysProcAttr = attr
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("actor in %s: %v\n%s", dir, err, stderr.String())
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(script) {
		return nil, fmt.Errorf("actor in %s did %d of %d steps\n%s", dir, len(lines), len(script), stderr.String())
	}
	return lines, nil
}

// jobs are what an actor can do besides scripts. Each gets the directory of
// the mount and returns what to print.
var jobs = map[string]func(dir string) (string, error){
	"create":           createOrRead,
	"walk":             walkTree,
	"handles":          checkHandles,
	"handles-that-end": checkHandlesThatEnd,
	"locker":           runLocker,
	"fill-up":          fillUp,
}

// actAs runs a job in another process.
func actAs(t testing.TB, cred *syscall.Credential, job, dir string) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", job)
	cmd.Env = append(os.Environ(), actEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s in %s: %v\n%s", job, dir, err, out)
	}
	return strings.TrimSpace(string(out))
}

type actor struct {
	users   map[string]chan func()
	fds     map[string]int
	marks   map[string]unix.Statx_t
	running *exec.Cmd
}

func act(dir string) int {
	if len(os.Args) > 1 && jobs[os.Args[1]] != nil {
		out, err := jobs[os.Args[1]](dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Println(out)
		return 0
	}
	unix.Umask(0)
	if err := os.Mkdir(dir, 0777); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := os.Chdir(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	a := &actor{users: map[string]chan func(){}, fds: map[string]int{}, marks: map[string]unix.Statx_t{}}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		fields := strings.Fields(in.Text())
		if len(fields) < 2 {
			fmt.Fprintln(out, in.Text())
			continue
		}
		for i, f := range fields {
			if f == "-" {
				fields[i] = ""
			}
		}
		var result string
		done := make(chan struct{})
		a.user(fields[0]) <- func() {
			defer close(done)
			result = a.call(fields[1], fields[2:])
		}
		<-done
		fmt.Fprintln(out, result)
	}
	return 0
}

// user returns the queue of a thread that has the user's credentials.
func (a *actor) user(spec string) chan func() {
	if ch := a.users[spec]; ch != nil {
		return ch
	}
	ch := make(chan func())
	a.users[spec] = ch
	go func() {
		runtime.LockOSThread() // for good: the thread is not root any more
		become(spec)
		for fn := range ch {
			fn()
		}
	}()
	return ch
}

// become changes the calling thread alone.
func become(spec string) {
	parts := strings.Split(spec, ":")
	uid, gid := number(parts[0]), number(parts[1])
	if os.Geteuid() != 0 {
		return
	}
	var groups []uint32
	if len(parts) > 2 {
		for _, g := range strings.Split(parts[2], ",") {
			groups = append(groups, uint32(number(g)))
		}
	}
	var p unsafe.Pointer
	if len(groups) > 0 {
		p = unsafe.Pointer(&groups[0])
	}
	check := func(_, _ uintptr, errno syscall.Errno) {
		if errno != 0 {
			panic(errno)
		}
	}
	check(syscall.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(p), 0))
	check(syscall.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)))
	check(syscall.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)))
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		panic(fmt.Sprintf("script: %v", err))
	}
	return n
}

func result(err error, more ...any) string {
	if err != nil {
		if errno, ok := err.(syscall.Errno); ok {
			return unix.ErrnoName(errno)
		}
		return err.Error()
	}
	return strings.TrimSpace("0 " + strings.TrimSpace(fmt.Sprintln(more...)))
}

var openFlagNames = map[string]int{
	"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR, "creat": unix.O_CREAT, "excl": unix.O_EXCL,
	"trunc": unix.O_TRUNC, "append": unix.O_APPEND, "nofollow": unix.O_NOFOLLOW, "dir": unix.O_DIRECTORY,
	"nonblock": unix.O_NONBLOCK, "tmpfile": unix.O_TMPFILE, "path": unix.O_PATH, "direct": unix.O_DIRECT,
	"sync": unix.O_SYNC, "noatime": unix.O_NOATIME,
}

func openFlags(s string) (flags int) {
	for _, f := range strings.Split(s, "|") {
		v, ok := openFlagNames[f]
		if !ok {
			panic("script: open flag " + f)
		}
		flags |= v
	}
	return flags
}

func (a *actor) fd(name string) int {
	if fd, ok := a.fds[name]; ok {
		return fd
	}
	return -1
}

// at opens nothing: it splits slot/name or name into dirfd and name.
func (a *actor) at(s string) (int, string) {
	if slot, name, ok := strings.Cut(s, "@"); ok {
		return a.fd(slot), name
	}
	return unix.AT_FDCWD, s
}

func describe(st *unix.Statx_t) string {
	typ := map[uint16]string{unix.S_IFREG: "file", unix.S_IFDIR: "dir", unix.S_IFLNK: "link", unix.S_IFIFO: "fifo",
		unix.S_IFSOCK: "sock", unix.S_IFCHR: "char", unix.S_IFBLK: "block"}[st.Mode&unix.S_IFMT]
	s := fmt.Sprintf("%s %04o n%d %d:%d", typ, st.Mode&07777, st.Nlink, st.Uid, st.Gid)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFLNK:
		s += fmt.Sprintf(" size %d", st.Size)
	case unix.S_IFCHR, unix.S_IFBLK:
		s += fmt.Sprintf(" dev %d,%d", st.Rdev_major, st.Rdev_minor)
	}
	return s
}

// moved says which of change, modification and access time are later in now.
func moved(then, now unix.Statx_t) (s string) {
	later := func(a, b unix.StatxTimestamp) bool { return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec }
	if later(now.Ctime, then.Ctime) {
		s += "c"
	}
	if later(now.Mtime, then.Mtime) {
		s += "m"
	}
	if later(now.Atime, then.Atime) {
		s += "a"
	}
	return s
}

// call makes one system call and says what came of it.
func (a *actor) call(name string, arg []string) string {
	n := func(i int) int { return int(number(arg[i])) }
	switch name {
	case "umask":
		unix.Umask(n(0))
		return "0"
	case "open": // NAME FLAGS [MODE [SLOT]]
		mode := 0
		if len(arg) > 2 {
			mode = n(2)
		}
		dirfd, path := a.at(arg[0])
		fd, err := unix.Openat(dirfd, path, openFlags(arg[1])|unix.O_CLOEXEC, uint32(mode))
		if err == nil && len(arg) > 3 {
			a.fds[arg[3]] = fd
		} else if err == nil {
			unix.Close(fd)
		}
		return result(err)
	case "close":
		return result(unix.Close(a.fd(arg[0])))
	case "write": // SLOT DATA
		m, err := unix.Write(a.fd(arg[0]), []byte(arg[1]))
		return result(err, m)
	case "pwrite": // SLOT DATA OFF
		m, err := unix.Pwrite(a.fd(arg[0]), []byte(arg[1]), int64(n(2)))
		return result(err, m)
	case "dwrite": // NAME: a page, with O_DIRECT
		fd, err := unix.Open(arg[0], unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		if err != nil {
			return result(err)
		}
		defer unix.Close(fd)
		page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return result(err)
		}
		defer unix.Munmap(page)
		m, err := unix.Pwrite(fd, page, 0)
		return result(err, m)
	case "pread": // SLOT LEN OFF
		buf := make([]byte, n(1))
		m, err := unix.Pread(a.fd(arg[0]), buf, int64(n(2)))
		return result(err, strconv.Quote(string(buf[:max(m, 0)])))
	case "cat":
		data, err := os.ReadFile(arg[0])
		if pe, ok := err.(*os.PathError); ok {
			err = pe.Err
		}
		return result(err, strconv.Quote(string(data)))
	case "fsync":
		return result(unix.Fsync(a.fd(arg[0])))
	case "fdatasync":
		return result(unix.Fdatasync(a.fd(arg[0])))
	case "setfl":
		_, err := unix.FcntlInt(uintptr(a.fd(arg[0])), unix.F_SETFL, openFlags(arg[1]))
		return result(err)
	case "lseek": // SLOT OFF WHENCE
		whence := map[string]int{"set": 0, "cur": 1, "end": 2, "data": unix.SEEK_DATA, "hole": unix.SEEK_HOLE}[arg[2]]
		off, err := unix.Seek(a.fd(arg[0]), int64(n(1)), whence)
		return result(err, off)
	case "ftruncate":
		return result(unix.Ftruncate(a.fd(arg[0]), int64(n(1))))
	case "truncate":
		return result(unix.Truncate(arg[0], int64(n(1))))
	case "fallocate": // SLOT MODE OFF LEN
		return result(unix.Fallocate(a.fd(arg[0]), uint32(n(1)), int64(n(2)), int64(n(3))))
	case "copyrange": // FROM TO LEN OFFIN OFFOUT [FLAGS]
		in, out, flags := int64(n(3)), int64(n(4)), 0
		if len(arg) > 5 {
			flags = n(5)
		}
		m, err := unix.CopyFileRange(a.fd(arg[0]), &in, a.fd(arg[1]), &out, n(2), flags)
		return result(err, m, in, out)
	case "pipe": // SLOT SLOT
		var p [2]int
		err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK)
		a.fds[arg[0]], a.fds[arg[1]] = p[0], p[1]
		return result(err)
	case "fsize": // BYTES
		signal.Ignore(unix.SIGXFSZ)
		return result(unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(n(0)), Max: unix.RLIM_INFINITY}))
	case "mkdir":
		dirfd, path := a.at(arg[0])
		return result(unix.Mkdirat(dirfd, path, uint32(n(1))))
	case "rmdir":
		dirfd, path := a.at(arg[0])
		return result(unix.Unlinkat(dirfd, path, unix.AT_REMOVEDIR))
	case "unlink":
		dirfd, path := a.at(arg[0])
		return result(unix.Unlinkat(dirfd, path, 0))
	case "mknod": // NAME TYPE MODE [MAJOR MINOR]
		typ := map[string]uint32{"file": unix.S_IFREG, "fifo": unix.S_IFIFO, "sock": unix.S_IFSOCK,
			"char": unix.S_IFCHR, "block": unix.S_IFBLK, "none": 0, "bad": 0120000 | 0010000}[arg[1]]
		dev := 0
		if len(arg) > 3 {
			dev = int(unix.Mkdev(uint32(n(3)), uint32(n(4))))
		}
		dirfd, path := a.at(arg[0])
		return result(unix.Mknodat(dirfd, path, typ|uint32(n(2)), dev))
	case "bind":
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return result(err)
		}
		defer unix.Close(fd)
		return result(unix.Bind(fd, &unix.SockaddrUnix{Name: arg[0]}))
	case "symlink": // TARGET NAME
		dirfd, path := a.at(arg[1])
		return result(unix.Symlinkat(arg[0], dirfd, path))
	case "readlink":
		buf := make([]byte, 8192)
		m, err := unix.Readlink(arg[0], buf)
		return result(err, string(buf[:max(m, 0)]))
	case "link", "linkfollow": // OLD NEW
		flags := 0
		if name == "linkfollow" {
			flags = unix.AT_SYMLINK_FOLLOW
		}
		d1, p1 := a.at(arg[0])
		d2, p2 := a.at(arg[1])
		return result(unix.Linkat(d1, p1, d2, p2, flags))
	case "linkfd": // SLOT NEW
		return result(unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", a.fd(arg[0])), unix.AT_FDCWD, arg[1], unix.AT_SYMLINK_FOLLOW))
	case "rename": // OLD NEW [FLAGS]
		flags := 0
		if len(arg) > 2 {
			flags = n(2)
		}
		d1, p1 := a.at(arg[0])
		d2, p2 := a.at(arg[1])
		return result(unix.Renameat2(d1, p1, d2, p2, uint(flags)))
	case "chmod":
		dirfd, path := a.at(arg[0])
		return result(unix.Fchmodat(dirfd, path, uint32(n(1)), 0))
	case "lchmod":
		return result(unix.Fchmodat(unix.AT_FDCWD, arg[0], uint32(n(1)), unix.AT_SYMLINK_NOFOLLOW))
	case "fchmod":
		return result(unix.Fchmod(a.fd(arg[0]), uint32(n(1))))
	case "chown":
		return result(unix.Fchownat(unix.AT_FDCWD, arg[0], n(1), n(2), 0))
	case "lchown":
		return result(unix.Fchownat(unix.AT_FDCWD, arg[0], n(1), n(2), unix.AT_SYMLINK_NOFOLLOW))
	case "fchown":
		return result(unix.Fchown(a.fd(arg[0]), n(1), n(2)))
	case "access": // NAME MASK
		return result(unix.Faccessat2(unix.AT_FDCWD, arg[0], uint32(n(1)), unix.AT_EACCESS))
	case "utimens", "lutimens": // NAME ATIME MTIME, each SEC.NSEC, now or omit
		flags := 0
		if name == "lutimens" {
			flags = unix.AT_SYMLINK_NOFOLLOW
		}
		return result(unix.UtimesNanoAt(unix.AT_FDCWD, arg[0], []unix.Timespec{timespec(arg[1]), timespec(arg[2])}, flags))
	case "times": // NAME: atime and mtime, for those set explicitly
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, arg[0], unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st)
		return result(err, fmt.Sprintf("%d.%09d %d.%09d", st.Atime.Sec, st.Atime.Nsec, st.Mtime.Sec, st.Mtime.Nsec))
	case "stat", "lstat":
		flags := 0
		if name == "lstat" {
			flags = unix.AT_SYMLINK_NOFOLLOW
		}
		var st unix.Statx_t
		dirfd, path := a.at(arg[0])
		if err := unix.Statx(dirfd, path, flags, unix.STATX_BASIC_STATS, &st); err != nil {
			return result(err)
		}
		return result(nil, describe(&st))
	case "mode": // NAME: what the kernel has cached of it, if it has
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, arg[0], unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MODE, &st)
		return result(err, fmt.Sprintf("%o", st.Mode))
	case "fstat":
		var st unix.Statx_t
		if err := unix.Statx(a.fd(arg[0]), "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
			return result(err)
		}
		return result(nil, describe(&st))
	case "mark": // NAME...: remember the times, let the clock go on
		for _, name := range arg {
			var st unix.Statx_t
			if err := unix.Statx(unix.AT_FDCWD, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st); err != nil {
				return result(err)
			}
			a.marks[name] = st
		}
		// The kernel's coarse clock, by which it stamps files, must be past them.
		for now, coarse := time.Now(), (unix.Timespec{}); coarse.Nano() <= now.UnixNano(); time.Sleep(time.Millisecond) {
			if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &coarse); err != nil {
				return result(err)
			}
		}
		return "0"
	case "moved": // NAME...: which times are later than at mark
		var s []string
		for _, name := range arg {
			var st unix.Statx_t
			if err := unix.Statx(unix.AT_FDCWD, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &st); err != nil {
				return result(err)
			}
			s = append(s, moved(a.marks[name], st))
		}
		return result(nil, "moved", strings.Join(s, " "))
	case "ls":
		f, err := os.Open(arg[0])
		if err != nil {
			return result(err.(*os.PathError).Err)
		}
		defer f.Close()
		names, err := f.Readdirnames(-1)
		sort.Strings(names)
		return result(err, names)
	case "chdir":
		return result(unix.Chdir(arg[0]))
	case "fchdir":
		return result(unix.Fchdir(a.fd(arg[0])))
	case "getcwd":
		buf := make([]byte, 8192)
		_, err := unix.Getcwd(buf)
		return result(err)
	case "setxattr", "lsetxattr": // NAME ATTR VALUE [FLAGS]
		flags := 0
		if len(arg) > 3 {
			flags = n(3)
		}
		value := []byte(arg[2])
		if h, ok := strings.CutPrefix(arg[2], "0x"); ok {
			value, _ = hex.DecodeString(h)
		} else if size, ok := strings.CutPrefix(arg[2], "*"); ok {
			value = make([]byte, number(size))
		}
		if name == "lsetxattr" {
			return result(unix.Lsetxattr(arg[0], arg[1], value, flags))
		}
		return result(unix.Setxattr(arg[0], arg[1], value, flags))
	case "fsetxattr":
		return result(unix.Fsetxattr(a.fd(arg[0]), arg[1], []byte(arg[2]), 0))
	case "getxattr", "lgetxattr": // NAME ATTR [SIZE]
		size := 1 << 16
		if len(arg) > 2 {
			size = n(2)
		}
		buf := make([]byte, size)
		get := unix.Getxattr
		if name == "lgetxattr" {
			get = unix.Lgetxattr
		}
		m, err := get(arg[0], arg[1], buf)
		if m > 64 || size == 0 {
			return result(err, "bytes", m)
		}
		return result(err, hex.EncodeToString(buf[:max(m, 0)]))
	case "listxattr": // NAME [SIZE]
		size := 1 << 16
		if len(arg) > 1 {
			size = n(1)
		}
		buf := make([]byte, size)
		m, err := unix.Llistxattr(arg[0], buf)
		names := strings.Split(strings.TrimSuffix(string(buf[:min(max(m, 0), size)]), "\x00"), "\x00")
		sort.Strings(names)
		return result(err, m, names)
	case "removexattr":
		return result(unix.Removexattr(arg[0], arg[1]))
	case "getflags":
		var v int32
		return result(ioctlPtr(a.fd(arg[0]), unix.FS_IOC_GETFLAGS, unsafe.Pointer(&v)), v&0x30)
	case "setflags": // SLOT i|a|-
		v := int32(0)
		if err := ioctlPtr(a.fd(arg[0]), unix.FS_IOC_GETFLAGS, unsafe.Pointer(&v)); err != nil {
			return result(err)
		}
		v &^= unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND
		if strings.Contains(arg[1], "i") {
			v |= unix.STATX_ATTR_IMMUTABLE
		}
		if strings.Contains(arg[1], "a") {
			v |= unix.STATX_ATTR_APPEND
		}
		return result(ioctlPtr(a.fd(arg[0]), unix.FS_IOC_SETFLAGS, unsafe.Pointer(&v)))
	case "ioctl": // SLOT CMD
		var buf [256]byte
		return result(ioctlPtr(a.fd(arg[0]), uint(n(1)), unsafe.Pointer(&buf)))
	case "flock": // SLOT sh|ex|un
		how := map[string]int{"sh": unix.LOCK_SH, "ex": unix.LOCK_EX, "un": unix.LOCK_UN}[arg[1]]
		return result(unix.Flock(a.fd(arg[0]), how|unix.LOCK_NB))
	case "ofdlock": // SLOT r|w|u START LEN
		typ := map[string]int16{"r": unix.F_RDLCK, "w": unix.F_WRLCK, "u": unix.F_UNLCK}[arg[1]]
		lk := unix.Flock_t{Type: typ, Start: int64(n(2)), Len: int64(n(3))}
		return result(unix.FcntlFlock(uintptr(a.fd(arg[0])), unix.F_OFD_SETLK, &lk))
	case "ofdtest": // SLOT r|w START LEN
		typ := map[string]int16{"r": unix.F_RDLCK, "w": unix.F_WRLCK}[arg[1]]
		lk := unix.Flock_t{Type: typ, Start: int64(n(2)), Len: int64(n(3))}
		err := unix.FcntlFlock(uintptr(a.fd(arg[0])), unix.F_OFD_GETLK, &lk)
		return result(err, lk.Type, lk.Start, lk.Len, lk.Pid)
	case "mmapwrite": // SLOT OFF DATA
		b, err := unix.Mmap(a.fd(arg[0]), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return result(err)
		}
		copy(b[n(1):], arg[2])
		err = unix.Msync(b, unix.MS_SYNC)
		unix.Munmap(b)
		return result(err)
	case "exec": // runs a copy of true
		err := exec.Command(arg[0]).Run()
		if pe, ok := err.(*os.PathError); ok {
			err = pe.Err
		}
		return result(err)
	case "copy": // FROM TO
		data, err := os.ReadFile(arg[0])
		if err == nil {
			err = os.WriteFile(arg[1], data, 0755)
		}
		return result(err)
	case "run": // NAME, a copy of cat, which runs until stop
		a.running = exec.Command("./" + arg[0])
		if _, err := a.running.StdinPipe(); err != nil {
			return result(err)
		}
		a.running.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		return result(a.running.Start())
	case "stop":
		a.running.Process.Kill()
		a.running.Wait()
		return "0"
	case "reopen": // SLOT FLAGS: through /proc/self/fd
		fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", a.fd(arg[0])), openFlags(arg[1])|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		return result(err)
	}
	panic("script: call " + name)
}

func flockPtr(lk *unix.Flock_t) unsafe.Pointer { return unsafe.Pointer(lk) }

func ioctlPtr(fd int, cmd uint, p unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(cmd), uintptr(p)); errno != 0 {
		return errno
	}
	return nil
}

func timespec(s string) unix.Timespec {
	switch s {
	case "now":
		return unix.Timespec{Nsec: unix.UTIME_NOW}
	case "omit":
		return unix.Timespec{Nsec: unix.UTIME_OMIT}
	}
	sec, nsec, _ := strings.Cut(s, ".")
	ts := unix.Timespec{Sec: number(sec)}
	if nsec != "" {
		v, _ := strconv.ParseInt(nsec, 10, 64)
		ts.Nsec = v
	}
	return ts
}
