package overuring

import (
	"encoding/binary"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// deviceReaders read /dev/fuse: two, so that an INTERRUPT is seen while a FORGET
// is worked on.
const deviceReaders = 2

// maxDeviceRequests bounds the requests that are served from /dev/fuse at once,
// when there is no ring.
const maxDeviceRequests = 1024

// readDevice serves /dev/fuse until the connection has ended. With a ring only
// FORGET and INTERRUPT come here, else everything does.
func (s *Server) readDevice() {
	buf := s.newDeviceBuffer()
	for {
		n, err := unix.Read(s.fd, buf)
		switch {
		case err == nil && n >= inHeaderSize:
		case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EAGAIN):
			continue // the request was interrupted before we got it
		default:
			if !errors.Is(err, syscall.ENODEV) {
				s.log.WithError(err).Error("reading /dev/fuse ended")
			}
			return
		}
		switch opcode := binary.NativeEndian.Uint32(buf[4:]); {
		case opcode == opForget || opcode == opBatchForget:
			s.handleDevice(buf[:n])
		case opcode == opInterrupt && s.ringOn:
			s.interrupt(interrupted(buf))
		default:
			s.room <- struct{}{}
			s.requests.Add(1)
			// Ends with the request; Serve waits for it.
			go func(buf []byte) {
				defer s.requests.Done()
				s.handleDevice(buf[:n])
				<-s.room
				s.buffers.Put(&buf)
			}(buf)
			buf = s.newDeviceBuffer()
		}
	}
}

func (s *Server) newDeviceBuffer() []byte {
	if b, ok := s.buffers.Get().(*[]byte); ok {
		return (*b)[:cap(*b)]
	}
	return make([]byte, s.payload+unix.Getpagesize())
}

// handleDevice answers a request from /dev/fuse.
func (s *Server) handleDevice(request []byte) {
	out := s.newDeviceBuffer()
	defer func() { s.buffers.Put(&out) }()
	unique := header(request).unique()
	n, status := s.protocol.HandleRequest([][]byte{request}, [][]byte{out})
	if n == 0 && status != 0 {
		putOutHeader(out, outHeaderSize, -int32(status), unique)
		n = outHeaderSize
	}
	if n > 0 {
		// ENOENT: the request was interrupted and is gone.
		_, _ = unix.Write(s.fd, out[:n])
	}
}
