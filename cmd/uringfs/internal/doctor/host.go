package doctor

import (
	"bufio"
	"errors"
	"fmt"
	"log/syslog"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/mount"
	"github.com/uringfs/uringfs/reactor"
)

const enableUring = "/sys/module/fuse/parameters/enable_uring"

// hostExaminations stand in the order in which one would look.
var hostExaminations = []func() Finding{
	kernel, ioUring, fuseDevice, fuseOverUring, mountRight, fusermount, userAllowOther, openFiles, requestSize, fusectl, systemLog,
}

func kernel() Finding {
	major, minor, release := kernelVersion()
	if before(major, minor, 5, 11) {
		return finding("kernel", Fail, "run Linux 5.11 or newer (6.1 and later are best tested), or mount with -o engine=sync", "Linux %s has no usable io_uring", release)
	}
	var lacks []string
	for _, f := range []struct {
		major, minor int
		what         string
	}{
		{6, 6, "shared mmap with direct_io"},
		{6, 14, "FUSE-over-io_uring"},
	} {
		if before(major, minor, f.major, f.minor) {
			lacks = append(lacks, fmt.Sprintf("%s (%d.%d)", f.what, f.major, f.minor))
		}
	}
	if lacks != nil {
		return finding("kernel", Note, "run a newer kernel if you want these", "Linux %s is too old for %s", release, strings.Join(lacks, ", "))
	}
	return ok("kernel", "Linux %s", release)
}

func before(major, minor, wantMajor, wantMinor int) bool {
	return major < wantMajor || major == wantMajor && minor < wantMinor
}

func kernelVersion() (major, minor int, release string) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return 0, 0, "of unknown version"
	}
	release = unix.ByteSliceToString(u.Release[:])
	// What follows the two numbers is the distribution's own affair.
	fmt.Sscanf(release, "%d.%d", &major, &minor)
	return major, minor, release
}

func ioUring() Finding {
	r, err := reactor.New(reactor.Config{})
	if err != nil {
		remedy := "mount with -o engine=sync"
		var setup *reactor.SetupError
		if errors.As(err, &setup) {
			remedy = setup.Hint + "; or " + remedy
		}
		return finding("io_uring", Fail, remedy, "%v", err)
	}
	stats := r.Stats()
	if err := r.Close(); err != nil {
		return finding("io_uring", Fail, "look into the kernel's log", "closing the rings: %v", err)
	}
	return ok("io_uring", "works: %d rings", stats.Rings)
}

func fuseDevice() Finding {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case err == nil:
		unix.Close(fd)
		return ok("fuse", "/dev/fuse can be opened")
	case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO):
		return finding("fuse", Fail, "modprobe fuse; in a container: --device /dev/fuse", "/dev/fuse: %v", err)
	case errors.Is(err, unix.EACCES):
		return finding("fuse", Fail, "let root chmod 666 /dev/fuse, as udev does by default", "/dev/fuse: %v", err)
	}
	return finding("fuse", Fail, "in a container: --device /dev/fuse --cap-add SYS_ADMIN", "/dev/fuse: %v", err)
}

func fuseOverUring() Finding {
	const name = "fuse_over_io_uring"
	text, err := os.ReadFile(enableUring)
	switch {
	case err != nil:
		return finding(name, Note, "needs Linux 6.14 or newer with CONFIG_FUSE_IO_URING; transport=auto takes /dev/fuse", "the kernel does not have it")
	case strings.TrimSpace(string(text)) != "Y":
		return finding(name, Note, "as root: echo Y >"+enableUring+"; for good: the kernel argument fuse.enable_uring=1", "the kernel has it, switched off")
	}
	return ok(name, "switched on")
}

func mountRight() Finding {
	if mount.Privileged() {
		return ok("mount", "this user may call mount(2)")
	}
	return finding("mount", Note, "nothing, if fusermount3 is there; or mount as root", "this user may not call mount(2): fusermount3 does it")
}

func fusermount() Finding {
	const name = "fusermount3"
	state := Fail
	if mount.Privileged() {
		state = Note
	}
	path, err := exec.LookPath("fusermount3")
	if err != nil {
		return finding(name, state, "install the package fuse3", "not installed; ordinary users and auto_unmount need it")
	}
	info, err := os.Stat(path)
	if err != nil {
		return finding(name, state, "install the package fuse3 again", "%v", err)
	}
	if info.Mode()&os.ModeSetuid == 0 {
		return finding(name, state, "chmod u+s "+path, "%s is not setuid root", path)
	}
	return ok(name, "%s, setuid root", path)
}

func userAllowOther() Finding {
	const name = "user_allow_other"
	f, err := os.Open("/etc/fuse.conf")
	if err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if strings.TrimSpace(lines.Text()) == "user_allow_other" {
				return ok(name, "ordinary users may use allow_other")
			}
		}
	}
	return finding(name, Note, "let root add the line user_allow_other to /etc/fuse.conf", "only root may use allow_other")
}

func openFiles() Finding {
	const name = "open_files"
	const plenty = 65536
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return finding(name, Warn, "see what forbids it: a seccomp profile, perhaps", "getrlimit: %v", err)
	}
	if l.Max < plenty {
		return finding(name, Warn, "raise it: LimitNOFILE= of systemd, or /etc/security/limits.conf",
			"the hard limit of open files is %d; every cached inode takes one up to it", l.Max)
	}
	return ok(name, "hard limit %d", l.Max)
}

func requestSize() Finding {
	const name = "request_size"
	const want = mount.DefaultMaxWrite / 4096
	text, err := os.ReadFile("/proc/sys/fs/fuse/max_pages_limit")
	if err != nil {
		return ok(name, "up to %d pages", want)
	}
	var pages int
	if _, err := fmt.Sscan(string(text), &pages); err == nil && pages < want {
		return finding(name, Note, fmt.Sprintf("as root: sysctl fs.fuse.max_pages_limit=%d", want), "fs.fuse.max_pages_limit caps requests at %d pages", pages)
	}
	return ok(name, "up to %s pages", strings.TrimSpace(string(text)))
}

func fusectl() Finding {
	const name = "fusectl"
	var s unix.Statfs_t
	const magic = 0x65735543
	if err := unix.Statfs("/sys/fs/fuse/connections", &s); err != nil || s.Type != magic {
		return finding(name, Note, "as root: mount -t fusectl fusectl /sys/fs/fuse/connections",
			"/sys/fs/fuse/connections is not mounted; hung mounts cannot be aborted")
	}
	return ok(name, "hung mounts can be aborted")
}

func systemLog() Finding {
	w, err := syslog.New(syslog.LOG_DAEMON, "uringfs")
	if err != nil {
		return finding("syslog", Note, "mount with --log-file", "no syslog answers; what a daemon in the background has to say is lost")
	}
	w.Close()
	return ok("syslog", "takes what a daemon in the background has to say")
}
