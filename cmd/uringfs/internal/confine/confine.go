// Package confine gives up what the daemon of a mount does not need any more
// once it is up: capabilities that serve no file, and system calls by which a
// process that was taken over would go further. SECURITY.md says what that is
// worth.
package confine

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// Apply drops capabilities and installs the filter, on all threads and for good.
// It sets no_new_privs, so that setuid programs (fusermount3) work no more: it
// is for processes that unmount by themselves. Rings must have been made.
//
// What cannot be given up does not keep the rest from it; the error names it.
func Apply() error {
	return errors.Join(dropCapabilities(), denyCalls())
}

func denyCalls() error {
	names, err := known(Denied())
	if err != nil {
		return err
	}
	err = seccomp.LoadFilter(seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls: []seccomp.SyscallGroup{{
				Action: seccomp.ActionErrno | seccomp.Action(syscall.EPERM),
				Names:  names,
			}},
		},
	})
	if err != nil {
		return fmt.Errorf("install the seccomp filter: %w", err)
	}
	return nil
}

// errCgo: Go can reach all threads of a process only where it has made them.
var errCgo = errors.New("drop capabilities: this build uses cgo, where threads cannot be reached")

// Denied lists the system calls that are refused after Apply.
func Denied() []string {
	return []string{
		// Other programs and other processes.
		"execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp",
		// Rings without restrictions.
		"io_uring_setup",
		// The shape of the system: mounts, namespaces, roots. umount2 stays.
		"mount", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
		"pivot_root", "chroot", "setns", "unshare",
		// The kernel itself.
		"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf",
		"perf_event_open", "userfaultfd", "iopl", "ioperm", "modify_ldt", "lookup_dcookie",
		// The machine.
		"reboot", "swapon", "swapoff", "acct", "sethostname", "setdomainname", "vhangup", "quotactl",
		"settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "syslog",
		// Keys of the kernel.
		"add_key", "request_key", "keyctl",
	}
}

// known drops the calls that this architecture does not have.
func known(names []string) ([]string, error) {
	info, err := arch.GetInfo("")
	if err != nil {
		return nil, fmt.Errorf("seccomp on %s: %w", runtime.GOARCH, err)
	}
	var list []string
	for _, n := range names {
		if _, ok := info.SyscallNames[n]; ok {
			list = append(list, n)
		}
	}
	return list, nil
}

// Kept are the capabilities that a file server for many users needs: to act on
// files as their owners and as root would, to take a caller's identity, to
// unmount, and to name the processes that hold a mount busy.
func Kept() []int {
	return []int{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID,
		unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETFCAP, unix.CAP_MKNOD, unix.CAP_LINUX_IMMUTABLE,
		unix.CAP_LEASE, unix.CAP_SYS_RESOURCE, unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE,
	}
}

// dropCapabilities leaves those of Kept that the process has.
func dropCapabilities() error {
	keep := [2]uint32{}
	for _, c := range Kept() {
		keep[c/32] |= 1 << (c % 32)
	}
	for c := 0; c <= unix.CAP_LAST_CAP; c++ {
		if keep[c/32]&(1<<(c%32)) != 0 {
			continue
		}
		_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0)
		if errno == syscall.ENOTSUP {
			return errCgo
		}
		// EINVAL: the kernel does not have this one. EPERM: without
		// CAP_SETPCAP the set cannot be changed, which no_new_privs makes
		// harmless.
		if errno != 0 && errno != syscall.EINVAL && errno != syscall.EPERM {
			return fmt.Errorf("drop capability %d from the bounding set: %w", c, errno)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for i := range data {
		data[i].Effective &= keep[i]
		data[i].Permitted &= keep[i]
		data[i].Inheritable = 0
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	runtime.KeepAlive(&header)
	runtime.KeepAlive(&data)
	if errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}
