package reactor

import (
	"fmt"
	"syscall"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	sys "github.com/iceber/iouring-go/syscall"
)

// restriction is struct io_uring_restriction.
type restriction struct {
	opcode uint16
	arg    uint8 // register opcode, SQE opcode or SQE flags, as opcode says
	_      uint8
	_      [3]uint32
}

const (
	restrictSQEOp           = 1 // allow an SQE opcode
	restrictSQEFlagsAllowed = 2 // allow these SQE flags
)

// fileOps are the opcodes of file I/O: those of [Op] and cancel.
var fileOps = []Opcode{
	OpNop, OpRead, OpWrite, OpReadv, OpWritev, OpFsync, OpFallocate, OpOpenat, OpStatx, OpClose,
	Opcode(sys.IORING_OP_ASYNC_CANCEL),
}

// enable locks a ring that was made with cfg.lockdown down to those opcodes and
// starts it. No registration is possible afterwards (Linux 5.10).
func (r *ring) enable(cfg ringConfig) error {
	if cfg.lockdown == nil {
		return nil
	}
	rules := []restriction{{opcode: restrictSQEFlagsAllowed, arg: sys.IOSQE_FLAGS_ASYNC | sys.IOSQE_FLAGS_FIXED_FILE | sys.IOSQE_FLAGS_IO_LINK}}
	for _, code := range cfg.lockdown {
		rules = append(rules, restriction{opcode: restrictSQEOp, arg: uint8(code)})
	}
	if err := sys.IOURingRegister(r.fd, sys.IORING_REGISTER_RESTRICTIONS, unsafe.Pointer(&rules[0]), uint32(len(rules))); err != nil {
		return newSetupError("restrict the ring", err)
	}
	if err := sys.IOURingRegister(r.fd, sys.IORING_REGISTER_ENABLE_RINGS, nil, 0); err != nil {
		return newSetupError("enable the ring", err)
	}
	return nil
}

// ForbidNewRings makes io_uring_setup fail with EPERM for this process and its
// children from now on, by a seccomp filter on all threads. Without it a
// [Config.Lockdown] stops nobody who can make a ring of his own. It sets
// no_new_privs and cannot be undone; reactors and executors are made before.
func ForbidNewRings() error {
	filter := seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls: []seccomp.SyscallGroup{{
				Action: seccomp.ActionErrno | seccomp.Action(syscall.EPERM), // as the sysctl answers
				Names:  []string{"io_uring_setup"},
			}},
		},
	}
	if err := seccomp.LoadFilter(filter); err != nil {
		return fmt.Errorf("forbid new rings: %w", err)
	}
	return nil
}
