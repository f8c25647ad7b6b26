package reactor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"
)

// device carries commands out, which name themselves by a number in their area.
type device struct {
	mu    sync.Mutex
	done  map[uint64]int    // how often each was carried out
	looks map[uint64]func() // what is to be looked at when it is
}

func (d *device) command(area *[80]byte) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	number := binary.NativeEndian.Uint64(area[:])
	d.done[number]++
	if look := d.looks[number]; look != nil {
		look()
	}
	return 0
}

// expect has look called when that command is carried out.
func (d *device) expect(number uint64, look func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looks[number] = look
}

// times is how often that command was carried out.
func (d *device) times(number uint64) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done[number]
}

// reply is what a command that follows a write finds in place of its data.
var reply = []byte("REPLYING")

// carrier is a task that reads and writes its part of the file, and has a command
// carried out for each, as a server of FUSE requests does.
type carrier struct {
	t       *testing.T
	s       *fakes
	d       *device
	rng     *rand.Rand
	task    *Task
	id      int
	command *Command
	results []int32
	want    []byte // what its part of the file holds
	sent    int    // commands that the kernel went on with by itself
}

const carried = 1024 // bytes of a carrier's part

func newCarrier(t *testing.T, s *fakes, d *device, seed uint64, id int) *carrier {
	c := &carrier{t: t, s: s, d: d, rng: rand.New(rand.NewPCG(seed, uint64(id))), task: Current(), id: id, want: make([]byte, carried)}
	c.command = s.e.NewCommand(func(res int32) {
		c.results = append(c.results, res)
		c.task.Unpark()
	})
	return c
}

// one makes a transfer and its command, and returns what each says.
func (c *carrier) one() (res int32, err error) {
	off := c.rng.IntN(carried - 2*len(reply))
	p := make([]byte, 1+c.rng.IntN(carried-off))
	write := c.rng.IntN(2) == 0
	at := int64(c.id*carried + off)
	number := uint64(c.id)<<32 | uint64(len(c.results)+1)
	inFile := c.s.backing.data[at : at+int64(len(p))]
	if write {
		for i := range p {
			p[i] = byte(c.rng.Uint32())
		}
	}
	data := bytes.Clone(p)
	transfer := func() (n int, err error) {
		if write {
			return c.s.file.WriteAt(context.Background(), p, at)
		}
		return c.s.file.ReadAt(context.Background(), p, at)
	}
	dropped := false
	following := &Following{Command: c.command, Buf: p, Overlay: len(reply), Fill: func(n int, area *[80]byte) {
		binary.NativeEndian.PutUint64(area[:], number)
		if write {
			copy(p, reply)
		}
		c.d.expect(number, func() {
			switch {
			case n != len(p):
				c.t.Errorf("command for %d of %d bytes", n, len(p))
			case write && (!bytes.Equal(inFile, data) || !bytes.HasPrefix(p, reply[:min(len(p), len(reply))])):
				c.t.Error("the command came before the data was written")
			case !write && !bytes.Equal(inFile, p):
				c.t.Error("the command came before the data was read")
			}
		})
	}, Dropped: func() {
		dropped = true
		c.task.Unpark()
	}}
	c.task.Follow(following)
	over := false
	n, err := transfer()
	Finally(func() {
		over = true
		c.task.Unpark()
	})
	promised := c.task.Followed()
	if over != !promised || promised && (n != len(p) || err != nil) {
		c.t.Errorf("promised: %v, %d of %d bytes, %v, over: %v", promised, n, len(p), err, over)
	}
	for promised && !dropped && uint32(number) != uint32(len(c.results)) {
		c.task.Park()
	}
	if promised && !dropped {
		c.sent++
	} else {
		if write && !bytes.Equal(p, data) {
			c.t.Error("the data is not back in its place")
		}
		if c.d.times(number) != 0 {
			c.t.Error("the command was not sent, but carried out")
		}
		c.d.expect(number, nil)
		if promised {
			c.task.Resume(following)
			n, err = transfer()
			c.task.Followed()
		}
		area := c.command.Submit(0, 0, 0, 0)
		binary.NativeEndian.PutUint64(area[:], number)
	}
	for uint32(number) != uint32(len(c.results)) || !over {
		c.task.Park()
	}
	switch {
	case write && err == nil && !bytes.Equal(inFile, data), write && !bytes.Equal(inFile[:n], data[:n]):
		c.t.Error("not all was written")
	case write:
		copy(c.want[off:], data[:n])
	}
	if !write && !bytes.Equal(p[:n], c.want[off:off+n]) {
		c.t.Error("wrong data")
	}
	return c.results[len(c.results)-1], err
}

// newCarriers starts that many tasks on an executor with a fake ring.
func newCarriers(t *testing.T, carriers int, seed uint64, f faults, each func(*carrier)) (*fakes, *device) {
	s := newFakes(t, byTasks, seed, f, carriers*carried, Config{})
	s.file.passOn.Store(true)
	d := &device{done: map[uint64]int{}, looks: map[uint64]func(){}}
	for _, q := range s.rings {
		q.device = d.command
	}
	for id := range carriers {
		s.call(func() { each(newCarrier(t, s, d, seed, id)) })
	}
	return s, d
}

// However the ring treats a transfer and the command behind it, the command is
// carried out once, with the data there, and its result comes once.
func TestCommandsFollowOnAnyRing(t *testing.T) {
	profiles := map[string]faults{
		"good":      {},
		"reordered": {late: 800},
		"short":     {short: 300, again: 100, late: 500},
		"split":     {enterShort: 600, late: 700},
		"spurious":  {spurious: 300, late: 500, short: 200},
		"everything": {enterError: 150, enterShort: 300, early: 200, late: 500, short: 200, again: 150, fail: 50,
			spurious: 100},
	}
	for name, f := range profiles {
		t.Run(name, func(t *testing.T) {
			onFakes(t, []string{byTasks}, *seeds, func(t *testing.T, _ string, seed uint64) {
				sent := 0
				s, d := newCarriers(t, 20, seed, f, func(c *carrier) {
					for range 40 {
						if res, err := c.one(); res != 0 || err != nil && !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.EAGAIN) {
							t.Errorf("ended with %v, the command with %d", err, res)
						}
					}
					sent += c.sent
				})
				s.wait()
				if sent == 0 {
					t.Error("no command was sent with a transfer")
				}
				s.close()
				if len(d.done) != 20*40 {
					t.Errorf("%d commands were carried out", len(d.done))
				}
				for number, n := range d.done {
					if n != 1 {
						t.Errorf("command %#x was carried out %d times", number, n)
					}
				}
			})
		})
	}
}

// When the ring breaks, each command still has one result: its own, or why it was
// not carried out.
func TestCommandsOfABrokenRingEnd(t *testing.T) {
	onFakes(t, []string{byTasks}, *seeds, func(t *testing.T, _ string, seed uint64) {
		s, _ := newCarriers(t, 20, seed, faults{fatal: 15, late: 600, enterShort: 300}, func(c *carrier) {
			for n := 0; n < 3; { // three more that fail
				number := uint64(c.id)<<32 | uint64(len(c.results)+1)
				res, err := c.one()
				broken := res == -int32(syscall.EBADF)
				if done := c.d.times(number); (res == 0) != (done == 1) || !broken && res != 0 {
					t.Errorf("result %d of a command that was carried out %d times", res, done)
				}
				if err != nil && !errors.Is(err, syscall.EBADF) {
					t.Error(err)
				}
				if broken {
					n++
				}
			}
		})
		s.wait()
		s.close()
	})
}

// Where the queue has no room for a transfer and its command there is no promise.
func TestNoPromiseWithoutRoom(t *testing.T) {
	for room := range 2 {
		s, _ := newCarriers(t, 1, 1, faults{}, func(c *carrier) {
			d := c.s.e.t.driver
			d.mu.Lock()
			for range 16 - room { // of the fake's queue
				e := d.q.next()
				e.PrepOperation(uint8(OpNop), -1, 0, 0, 0)
				e.SetUserData(cancelTag)
				d.filled = append(d.filled, cancelTag)
			}
			d.mu.Unlock()
			p := make([]byte, 64)
			c.task.Follow(&Following{Command: c.command, Buf: p, Fill: func(int, *[80]byte) { t.Error("the command was taken along") }})
			if n, err := c.s.file.ReadAt(context.Background(), p, 0); n != 64 || err != nil {
				t.Error(n, err)
			}
			if c.task.Followed() {
				t.Error("a promise was made")
			}
		})
		s.wait()
		if ops, _ := s.r.limits.InUse(); ops != 0 {
			t.Errorf("%d operations are in use", ops)
		}
		s.close()
	}
}

// What a promise holds is given back although its command, as one that waits for
// the next request, does not end.
func TestPromiseIsOverBeforeItsCommand(t *testing.T) {
	s, d := newCarriers(t, 1, 1, faults{}, func(c *carrier) {
		ring := c.s.e.t.q.(*fakeRing)
		ring.hold(true)
		p := make([]byte, 64)
		c.task.Follow(&Following{Command: c.command, Buf: p, Fill: func(int, *[80]byte) {}, Dropped: func() { t.Error("dropped") }})
		over := make(chan struct{})
		if n, err := c.s.file.ReadAt(context.Background(), p, 0); n != 64 || err != nil {
			t.Error(n, err)
		}
		Finally(func() { close(over) })
		if !c.task.Followed() {
			t.Error("no promise")
		}
		err := c.s.e.Spawn(func(task *Task) { // ends when it has seen it all
			task.aside(func() {
				select {
				case <-over:
				case <-time.After(10 * time.Second):
					t.Error("Finally has not called")
				}
				for range 1000 {
					if ops, _ := c.s.r.limits.InUse(); ops == 0 && c.s.r.Stats().InFlight == 0 && c.s.file.pins.Load() == 1 {
						break
					}
					time.Sleep(time.Millisecond)
				}
			})
			ops, bytes := c.s.r.limits.InUse()
			if stats := c.s.r.Stats(); ops != 0 || bytes != 0 || stats.InFlight != 0 || stats.BytesRead != 64 || c.s.file.pins.Load() != 1 {
				t.Errorf("%d operations and %d bytes are in use, pins %d, %+v", ops, bytes, c.s.file.pins.Load(), stats)
			}
			ring.hold(false)
		})
		if err != nil {
			t.Error(err)
		}
		for len(c.results) == 0 {
			c.task.Park()
		}
	})
	s.wait()
	s.close()
	if len(d.done) != 1 {
		t.Errorf("%d commands were carried out", len(d.done))
	}
}

// A thread that was woken to fill its queue hears of what comes next.
func TestThreadWithAFullQueueListens(t *testing.T) {
	const room = 16 // of the fake's queue
	s, d := newCarriers(t, room, 1, faults{}, func(*carrier) {})
	s.wait()
	commands := s.e.commands
	for _, q := range s.rings {
		q.hold(true)
	}
	time.Sleep(20 * time.Millisecond) // it sleeps
	s.e.mu.Lock()
	for number := range room {
		s.e.spawnLocked(func(*Task) {
			binary.NativeEndian.PutUint64(commands[number].Submit(0, 0, 0, 0)[:], uint64(number))
		})
	}
	s.e.mu.Unlock()
	s.e.t.wakeUp()
	time.Sleep(20 * time.Millisecond)
	heard := make(chan struct{})
	if err := s.e.Spawn(func(*Task) { close(heard) }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-heard:
	case <-time.After(10 * time.Second):
		t.Error("a task does not begin")
	}
	for _, q := range s.rings {
		q.hold(false)
	}
	for d.times(room-1) == 0 {
		time.Sleep(time.Millisecond)
	}
	s.close()
}
