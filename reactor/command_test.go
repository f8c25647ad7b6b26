package reactor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"
)

// newTestCommand makes an executor with a command to /dev/null, which answers
// any with 0 (Linux 6.16), and counts what is done.
func newTestCommand(t *testing.T) (e *Executor, c *Command, results *[]int32) {
	t.Helper()
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(null) })
	results = new([]int32)
	e = newTestExecutor(t, ExecutorConfig{Commands: true, Entries: 8, Setup: func(e *Executor) error {
		c = e.NewCommand(func(res int32) { *results = append(*results, res) })
		return e.RegisterFiles(null)
	}})
	spawn(t, e, func(task *Task) {
		c.Submit(0, 0, 0, 0)
		for len(*results) == 0 {
			task.Yield()
		}
	})
	run(t, e)
	if (*results)[0] == -int32(unix.EOPNOTSUPP) {
		if os.Getenv("CI") != "" {
			t.Fatal("/dev/null takes no commands")
		}
		t.Skip("/dev/null takes no commands before Linux 6.16")
	}
	*results = nil
	return e, c, results
}

func TestCommandsAreDone(t *testing.T) {
	e, c, results := newTestCommand(t)
	spawn(t, e, func(task *Task) {
		for n := range 100 { // more than the queue holds
			c.Submit(0, 0, 0, 0)
			for len(*results) == n {
				task.Yield()
			}
		}
	})
	run(t, e)
	for _, res := range *results {
		if res != 0 {
			t.Errorf("a command gives %d", res)
		}
	}
}

func TestSubmittingACommandTwicePanics(t *testing.T) {
	e, c, _ := newTestCommand(t)
	spawn(t, e, func(*Task) {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		c.Submit(0, 0, 0, 0)
		c.Submit(0, 0, 0, 0)
	})
	run(t, e)
}

// TestCommandFollowsAWholeRead also shows that one does not follow a short read,
// the read of a file that is not passed on, or one into another buffer.
func TestCommandFollowsAWholeRead(t *testing.T) {
	for _, tc := range []struct {
		name           string
		off            int64
		pass           bool
		skip           int // of the buffer
		promised, sent bool
	}{
		{"whole", 0, true, 0, true, true},
		{"short", 9000, true, 0, true, false},
		{"end of file", 10_000, true, 0, true, false},
		{"not passed on", 0, false, 0, false, false},
		{"another buffer", 0, true, 100, false, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, c, results := newTestCommand(t)
			r := newTestReactor(t, Config{})
			f := openTemp(t, r, pattern(10_000, 1), unix.O_RDONLY)
			if tc.pass {
				f.PassOn()
			}
			spawn(t, e, func(task *Task) {
				p := make([]byte, 4096)
				filled, dropped := 0, 0
				task.Follow(&Following{Command: c, Buf: p, Fill: func(n int, area *[80]byte) {
					if filled++; n != 4096 || *area != [80]byte{} {
						t.Errorf("fill for %d bytes, area % x", n, area[:])
					}
				}, Dropped: func() { dropped++ }})
				n, err := f.ReadAt(context.Background(), p[tc.skip:], tc.off)
				if err != nil {
					t.Error(err)
				}
				over := false
				Finally(func() { over = true })
				promised := task.Followed()
				if promised != tc.promised || promised && (filled != 1 || n != 4096) || over != !promised {
					t.Errorf("promised: %v, filled %d times, %d bytes, over: %v", promised, filled, n, over)
				}
				for promised && len(*results)+dropped == 0 {
					task.Yield()
				}
				if want := tc.promised && !tc.sent; (dropped == 1) != want {
					t.Errorf("dropped %d times", dropped)
				}
				if !promised || dropped > 0 {
					c.Submit(0, 0, 0, 0)
				}
				for len(*results) == 0 {
					task.Yield()
				}
				task.Yield()
				if !over {
					t.Error("Finally has not called")
				}
			})
			run(t, e)
			if len(*results) != 1 || (*results)[0] != 0 {
				t.Errorf("results %v, want one of 0", *results)
			}
		})
	}
}

// TestCommandFollowsAWholeWrite also shows that the data is written although Fill
// has put something else in its place, that it is back when the command was not
// sent, that the rest is written then and nothing twice, and that writes with
// O_DIRECT, which may wait, are left alone.
func TestCommandFollowsAWholeWrite(t *testing.T) {
	const room = 6000 // the file may not grow beyond
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name           string
		off            int64
		size           int
		flag           int
		pass           bool
		promised, sent bool
	}{
		{"whole", 0, 4096, 0, true, true, true},
		{"shorter than the reply", 100, 5, 0, true, true, true},
		{"short", room - 1000, 4096, 0, true, true, false},
		{"not passed on", 0, 4096, 0, false, false, false},
		{"O_DIRECT", 0, 4096, unix.O_DIRECT, true, false, false},
		{"O_APPEND", 0, 4096, unix.O_APPEND, true, true, true},
		{"short, O_APPEND", room - 1000, 4096, unix.O_APPEND, true, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, c, results := newTestCommand(t)
			r := newTestReactor(t, Config{})
			f := openShared(t, r, tc.off) // writes never wait there
			if tc.flag == unix.O_DIRECT { // a tmpfs has that anyway
				f = openTemp(t, r, nil, unix.O_RDWR)
			}
			f.setFlags(t, tc.flag)
			if tc.pass {
				f.PassOn()
			}
			if tc.promised && !tc.sent {
				signal.Ignore(unix.SIGXFSZ)
				defer signal.Reset(unix.SIGXFSZ)
				defer setLimit(t, unix.RLIMIT_FSIZE, limit)
				setLimit(t, unix.RLIMIT_FSIZE, unix.Rlimit{Cur: room, Max: limit.Max})
			}
			mem, err := unix.Mmap(-1, 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Munmap(mem)
			want := pattern(tc.size, 3)
			fits := min(int64(tc.size), room-tc.off)
			spawn(t, e, func(task *Task) {
				p := mem[:tc.size]
				copy(p, want)
				dropped := false
				following := &Following{Command: c, Buf: p, Overlay: 8, Fill: func(n int, area *[80]byte) {
					if n != tc.size {
						t.Errorf("fill for %d bytes", n)
					}
					copy(mem, "REPLYING")
				}, Dropped: func() { dropped = true }}
				task.Follow(following)
				n, err := f.WriteAt(context.Background(), p, tc.off)
				promised := task.Followed()
				if promised != tc.promised || n != tc.size || err != nil {
					t.Errorf("promised: %v, wrote %d, %v", promised, n, err)
				}
				for promised && !dropped && len(*results) == 0 {
					task.Yield()
				}
				sent := promised && !dropped
				if sent != tc.sent {
					t.Errorf("sent: %v", sent)
				}
				if !sent {
					if !bytes.Equal(p, want) {
						t.Error("the data is not back in its place")
					}
					if promised {
						task.Resume(following)
					}
					n, err := f.WriteAt(context.Background(), p, tc.off)
					if fits < int64(tc.size) != errors.Is(err, unix.EFBIG) || int64(n) != fits {
						t.Errorf("wrote %d of %d: %v", n, fits, err)
					}
					c.Submit(0, 0, 0, 0)
				}
				for len(*results) == 0 {
					task.Yield()
				}
			})
			run(t, e)
			got := make([]byte, fits)
			if n, err := f.ReadAt(context.Background(), mem[8192:8192+fits], tc.off); int64(n) != fits || err != nil {
				t.Error(n, err)
			}
			if copy(got, mem[8192:]); !bytes.Equal(got, want[:fits]) {
				t.Error("the file has something else")
			}
			var st unix.Stat_t
			if err := unix.Fstat(f.fd, &st); err != nil || st.Size != tc.off+fits {
				t.Errorf("the file has %d bytes, want %d", st.Size, tc.off+fits)
			}
		})
	}
}

// TestFollowedReadsOfManyTasks has commands linked to reads that go out together
// through a queue with room for a few.
func TestFollowedReadsOfManyTasks(t *testing.T) {
	e, _, _ := newTestCommand(t)
	r := newTestReactor(t, Config{})
	content := pattern(1<<16, 1)
	f := openTemp(t, r, content, unix.O_RDONLY)
	f.PassOn()
	const tasks, rounds = 40, 50
	done := 0
	for i := range tasks {
		spawn(t, e, func(task *Task) {
			mine := 0
			c := e.NewCommand(func(res int32) {
				if res != 0 {
					t.Errorf("result %d", res)
				}
				mine++
			})
			p := make([]byte, 1000)
			for n := range rounds {
				off := (i*7919 + n*1009) % (1 << 16)
				dropped := false
				following := &Following{Command: c, Buf: p, Fill: func(int, *[80]byte) {}, Dropped: func() { dropped = true }}
				task.Follow(following)
				got, err := f.ReadAt(context.Background(), p, int64(off))
				if promised := task.Followed(); promised {
					for mine <= n && !dropped {
						task.Yield()
					}
					if dropped {
						task.Resume(following)
						got, err = f.ReadAt(context.Background(), p, int64(off))
						c.Submit(0, 0, 0, 0)
					}
				} else {
					c.Submit(0, 0, 0, 0)
				}
				if err != nil || string(p[:got]) != string(content[off:min(off+1000, 1<<16)]) {
					t.Errorf("read at %d: %d, %v", off, got, err)
				}
				for mine <= n {
					task.Yield()
				}
			}
			done += mine
		})
	}
	run(t, e)
	if done != tasks*rounds {
		t.Errorf("%d commands were done, want %d", done, tasks*rounds)
	}
}

func setLimit(t *testing.T, which int, limit unix.Rlimit) {
	t.Helper()
	if err := unix.Setrlimit(which, &limit); err != nil {
		t.Fatal(err)
	}
}

// setFlags adds flags of open(2).
func (f *File) setFlags(t *testing.T, flags int) {
	t.Helper()
	had, err := unix.FcntlInt(uintptr(f.fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(f.fd), unix.F_SETFL, had|flags)
	}
	if err != nil {
		t.Fatal(err)
	}
}
