package mount

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const devFuse = "/dev/fuse"

// attachKernel mounts with mount(2) and returns the open connection.
func attachKernel(mountpoint string, o *Options) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Stat(mountpoint, &st); err != nil {
		return nil, fmt.Errorf("stat %q: %w", mountpoint, err)
	}
	// Not os.OpenFile: /dev/fuse polls readable for ever in Go's netpoller,
	// and transports read it with blocking calls on threads of their own.
	fd, err := unix.Open(devFuse, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, deviceError(err)
	}
	data := append([]string{
		fmt.Sprintf("fd=%d", fd),
		fmt.Sprintf("rootmode=%o", st.Mode&unix.S_IFMT),
		fmt.Sprintf("user_id=%d", os.Geteuid()),
		fmt.Sprintf("group_id=%d", os.Getegid()),
	}, o.shared()...)
	err = unix.Mount(o.FSName, mountpoint, "fuse."+o.Subtype, o.flags(), strings.Join(data, ","))
	if err != nil {
		unix.Close(fd)
		return nil, kernelMountError(mountpoint, err)
	}
	return os.NewFile(uintptr(fd), devFuse), nil
}

func deviceError(err error) error {
	e := &Error{kind: ErrPrivilege, msg: "open " + devFuse, cause: err}
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		e.hint = "load the module (modprobe fuse); in a container pass --device /dev/fuse"
	} else {
		e.hint = "in a container pass --device /dev/fuse --cap-add SYS_ADMIN"
	}
	return e
}

func kernelMountError(mountpoint string, err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return &Error{kind: ErrPrivilege, msg: fmt.Sprintf("mount on %q", mountpoint), cause: err,
			hint: "in a container pass --cap-add SYS_ADMIN and, with AppArmor, --security-opt apparmor=unconfined"}
	}
	return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mount on %q", mountpoint), cause: err}
}

// canMount says whether the process may call mount(2): whether CAP_SYS_ADMIN is
// effective. A uid of 0 says nothing in a container.
func canMount() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return os.Geteuid() == 0
	}
	return data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// Privileged says whether this process mounts by itself, without fusermount3.
func Privileged() bool { return canMount() }
