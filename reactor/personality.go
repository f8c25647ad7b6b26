package reactor

import (
	"runtime"
	"syscall"

	sys "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// nobody owns nothing that a filesystem would keep space for.
const nobody = 65534

// registerUser makes the rights of an ordinary user known to the ring, for
// operations that ask for them ([File.SetUnprivileged]), and returns their
// number there; 0 if the process has no others anyway. The ring must not be
// restricted yet. (IORING_REGISTER_PERSONALITY, Linux 5.6.)
func (r *ring) registerUser() uint16 {
	if unix.Geteuid() != 0 {
		return 0
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var own [2]unix.CapUserData
	if unix.Capget(&header, &own[0]) != nil {
		return 0
	}
	// The kernel takes the credentials that this thread has at the moment. The
	// raw calls change no other thread's. Whether a write takes set-id bits away
	// is not what this is about: CAP_FSETID stays.
	user := own
	user[0].Effective, user[1].Effective = own[0].Effective&(1<<unix.CAP_FSETID), 0
	setFsIDs(nobody)
	var number uintptr
	if unix.Capset(&header, &user[0]) == nil {
		var errno syscall.Errno
		number, _, errno = syscall.RawSyscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), uintptr(sys.IORING_REGISTER_PERSONALITY), 0, 0, 0, 0)
		if errno != 0 {
			number = 0 // as it was without: operations have the reactor's rights
		}
	}
	setFsIDs(0)
	if err := unix.Capset(&header, &own[0]); err != nil {
		panic("reactor: thread cannot get its own capabilities back: " + err.Error())
	}
	return uint16(number)
}

// setFsIDs sets fsuid and fsgid of the thread; they never fail for root but in
// a user namespace that does not know the id.
func setFsIDs(id uintptr) {
	syscall.RawSyscall(unix.SYS_SETFSGID, id, 0, 0)
	syscall.RawSyscall(unix.SYS_SETFSUID, id, 0, 0)
}
