package reactor

import (
	"bytes"
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

// feed hands out the bytes of a fuzz input, then zeros.
type feed []byte

func (f *feed) next() int {
	if len(*f) == 0 {
		return 0
	}
	b := (*f)[0]
	*f = (*f)[1:]
	return int(b)
}

// Whatever completions come, an operation moves no more bytes than it was asked
// to, ends for a reason, and asks for more only where there is more to do.
func FuzzAdvance(f *testing.F) {
	f.Add([]byte{0, 100, 0, 50, 50})
	f.Add([]byte{1, 100, 0, 200, 11, 200, 4, 100})
	f.Add([]byte{2, 0, 0, 0})
	f.Add([]byte{0, 100, 0, 15, 0, 200, 10}) // EAGAIN of a cancelled read
	f.Fuzz(func(t *testing.T, input []byte) {
		in := feed(input)
		codes := []Opcode{OpRead, OpWrite, OpReadv, OpWritev, OpFsync, OpOpenat}
		op := Op{Code: codes[in.next()%len(codes)]}
		size := in.next()
		switch op.Code {
		case OpRead, OpWrite:
			op.Buf = make([]byte, size)
		case OpReadv, OpWritev:
			op.Bufs = [][]byte{make([]byte, size/2), nil, make([]byte, size-size/2)}
		}
		if in.next()%4 == 1 {
			op.Off = AtPosition
		}
		s := &slot{op: op}
		moved := 0
		for range 300 {
			if s.end == endNone && in.next()%16 == 15 {
				s.end = []endReason{endCancel, endDeadline}[in.next()%2]
			}
			res := int32(in.next())
			switch {
			case res >= 200: // an errno
				res = -int32(in.next()%133 + 1)
			case op.transfers():
				res = min(res, int32(op.size()-moved))
			}
			v, n, errno := s.advance(res)
			if res > 0 && op.transfers() {
				moved += int(res)
			}
			if n > op.size() && op.transfers() || s.done != moved {
				t.Fatalf("%v of %d bytes: %d done, %d reported, %d moved", op.Code, op.size(), s.done, n, moved)
			}
			if v == ended {
				checkEnd(t, s, res, n, moved, errno)
				return
			}
			if n != 0 || errno != 0 {
				t.Fatalf("goes on with a result: %d, %v", n, errno)
			}
			if res >= 0 && (!op.transfers() || moved == op.size() || res == 0) {
				t.Fatalf("%v goes on after %d of %d bytes", op.Code, moved, op.size())
			}
			if res < 0 && s.end != endNone {
				t.Fatalf("%v goes on after errno %d though it was stopped", op.Code, -res)
			}
		}
	})
}

// checkEnd checks the result of an operation that ended with res.
func checkEnd(t *testing.T, s *slot, res int32, n, moved int, errno syscall.Errno) {
	t.Helper()
	switch {
	case s.op.transfers() && n != moved:
		t.Fatalf("reports %d of %d bytes", n, moved)
	case errno == 0 && s.op.writes() && moved < s.op.size():
		t.Fatalf("short write of %d in %d bytes without an error", moved, s.op.size())
	case errno == 0 && res < 0:
		t.Fatalf("errno %d got lost", -res)
	case s.end == endNone && (errno == syscall.EINTR || errno == syscall.ECANCELED):
		t.Fatalf("%v though nobody stopped it", errno)
	case s.end != endNone && s.op.transfers() && errno == syscall.EAGAIN:
		t.Fatalf("%v after a stop", errno)
	}
}

// Any sequence of operations on any ring leaves in the file what a plain array
// would hold, and reads return it. The input's first bytes say how badly the ring
// behaves, the rest is operations on eight disjoint regions, so that eight can be
// in flight.
func FuzzOperations(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x40\x40\x20\x10\x10\x10\x10 some operations, any will do"))
	f.Add([]byte{9, 100, 100, 100, 100, 50, 20, 50, 50, 1, 2, 3, 4, 200, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Fuzz(func(t *testing.T, input []byte) {
		in := feed(input[:min(len(input), 300)])
		seed := uint64(in.next())
		profile := faults{enterError: in.next(), enterShort: in.next(), late: 3 * in.next(), short: 2 * in.next(),
			again: in.next(), fail: in.next() / 4, spurious: in.next(), deaf: in.next()}
		const regions, region = 8, 512
		s := newFakes(t, byRings, seed, profile, regions*region, Config{})
		model := make([]byte, regions*region)
		var inFlight [regions]*modelOp
		for len(in) > 0 {
			at := in.next() % regions
			inFlight[at].check(t, model)
			inFlight[at] = startModelOp(t, s.r, s.file, &in, at*region, region)
		}
		for _, op := range inFlight {
			op.check(t, model)
		}
		if stats := s.r.Stats(); stats.InFlight != 0 || stats.InFlightBytes != 0 || stats.Held != 0 {
			t.Errorf("left over: %+v", stats)
		}
		s.close()
		if !bytes.Equal(s.backing.data, model) {
			t.Error("the file is not what was written")
		}
	})
}

// modelOp is an operation in flight and what is known of it.
type modelOp struct {
	future *Future
	p      []byte
	off    int
	write  bool
}

func startModelOp(t *testing.T, r *Reactor, file *File, in *feed, base, size int) *modelOp {
	kind := in.next()
	off := in.next() * 2 % size
	op := &modelOp{p: make([]byte, in.next()*2%(size-off+1)), off: base + off, write: kind&1 != 0}
	o := Op{Code: OpRead, FD: file.fd, Buf: op.p, Off: int64(op.off)}
	if op.write {
		o.Code = OpWrite
		for i := range op.p {
			op.p[i] = byte(kind + i)
		}
	}
	if kind&6 == 6 {
		o.Timeout = time.Duration(kind) * time.Microsecond
	}
	if !file.pin() {
		t.Fatal("closed")
	}
	// As File.submit does, without staging: the model knows the buffer.
	op.future = newFuture(o)
	if err := op.future.register(context.Background(), r, &o, file, nil); err != nil {
		t.Fatal(err)
	}
	if kind&24 == 24 {
		op.future.Cancel()
	}
	return op
}

func (op *modelOp) check(t *testing.T, model []byte) {
	t.Helper()
	if op == nil {
		return
	}
	n, err := op.future.Wait(context.Background())
	if err == nil && n != len(op.p) {
		t.Errorf("%d of %d bytes without an error", n, len(op.p))
	}
	var errno syscall.Errno
	if err != nil && !errors.As(err, &errno) {
		t.Errorf("no errno in %v", err)
	}
	if op.write {
		copy(model[op.off:], op.p[:n])
	} else if !bytes.Equal(op.p[:n], model[op.off:op.off+n]) {
		t.Errorf("read of %d bytes at %d: not what was written", n, op.off)
	}
}
