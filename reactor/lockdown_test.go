package reactor

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	sys "github.com/iceber/iouring-go/syscall"
	"golang.org/x/sys/unix"
)

// submitRaw runs an entry that the package has no operation for on r's first
// ring and returns its result.
func submitRaw(t *testing.T, r *Reactor, prepare func(*sqe)) int32 {
	t.Helper()
	d := r.rings[0]
	if !d.take() {
		t.Fatal("ring in use")
	}
	defer r.release(d)
	e := d.q.next()
	prepare(e)
	if n, errno := d.q.enter(1, 0); n != 1 || errno != 0 {
		t.Fatalf("enter: %d, %v", n, errno)
	}
	c, ok := d.q.peek()
	if !ok {
		t.Fatal("no completion")
	}
	return c.res
}

// An opcode outside the list is refused on a locked ring and taken on another,
// so that the refusal is the lock's doing.
func TestLockdownRefusesForeignOpcodes(t *testing.T) {
	socket := func(e *sqe) { e.PrepOperation(sys.IORING_OP_SOCKET, unix.AF_UNIX, 0, 0, unix.SOCK_STREAM) }
	open := newTestReactor(t, Config{Rings: 1})
	if res := submitRaw(t, open, socket); res < 0 {
		t.Fatalf("socket on an open ring: %v", syscall.Errno(-res))
	} else {
		unix.Close(int(res))
	}
	locked := newTestReactor(t, Config{Rings: 1, Lockdown: true})
	if res := submitRaw(t, locked, socket); res != -int32(syscall.EACCES) {
		t.Errorf("socket on a locked ring: %d, want %d", res, -int32(syscall.EACCES))
	}
}

func TestLockedReactorDoesItsWork(t *testing.T) {
	r := newTestReactor(t, Config{Lockdown: true})
	for _, class := range []Class{ClassInline, ClassBlocking} {
		f := openTemp(t, r, []byte("content"), unix.O_RDWR)
		f.class = class
		p := make([]byte, 7)
		if n, err := f.ReadAt(context.Background(), p, 0); err != nil || string(p[:n]) != "content" {
			t.Errorf("%v: %q, %v", class, p[:n], err)
		}
		if err := f.Fsync(context.Background(), false); err != nil {
			t.Errorf("%v: %v", class, err)
		}
		end, _ := pipe(t, r, class)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := end.ReadAt(ctx, p, AtPosition); !errors.Is(err, syscall.EINTR) {
			t.Errorf("%v: cancelled read: %v", class, err)
		}
	}
}

// The filter cannot be taken off again, so it is tried in a child.
func TestForbidNewRings(t *testing.T) {
	if os.Getenv("REACTOR_TEST_FORBID") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestForbidNewRings$", "-test.v")
		cmd.Env = append(os.Environ(), "REACTOR_TEST_FORBID=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	r := newTestReactor(t, Config{Lockdown: true})
	if err := ForbidNewRings(); err != nil {
		t.Fatal(err)
	}
	var setup *SetupError
	if _, err := New(Config{}); !errors.As(err, &setup) || !errors.Is(err, syscall.EPERM) || setup.Hint == "" {
		t.Errorf("a new ring after the filter: %v", err)
	}
	f := openTemp(t, r, []byte("content"), unix.O_RDWR)
	p := make([]byte, 7)
	if n, err := f.ReadAt(context.Background(), p, 0); n != 7 || err != nil {
		t.Errorf("the old rings: %d, %v", n, err)
	}
	f.class = ClassBlocking
	if n, err := f.ReadAt(context.Background(), p, 0); n != 7 || err != nil {
		t.Errorf("the lane: %d, %v", n, err)
	}
}
