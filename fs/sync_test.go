package fs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

func openSync(t *testing.T, s *SyncIO) File {
	t.Helper()
	fd, err := unix.Open(filepath.Join(t.TempDir(), "f"), unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestSyncIOMovesData(t *testing.T) {
	s, ctx := NewSyncIO(2), context.Background()
	f := openSync(t, s)
	defer f.Close()
	data := bytes.Repeat([]byte("0123456789"), 1000)
	if n, err := f.WriteAt(ctx, data, 7); n != len(data) || err != nil {
		t.Fatalf("WriteAt: %d, %v", n, err)
	}
	if err := f.Fsync(ctx, true); err != nil {
		t.Error(err)
	}
	if err := f.Fallocate(ctx, unix.FALLOC_FL_KEEP_SIZE, 0, 1<<16); err != nil && !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Error(err)
	}
	got := make([]byte, len(data)+100)
	if n, err := f.ReadAt(ctx, got, 7); n != len(data) || err != nil || !bytes.Equal(got[:n], data) {
		t.Errorf("ReadAt: %d, %v", n, err)
	}
	if st := s.Stats(); st.Completed != 4 || st.BytesRead != uint64(len(data)) || st.BytesWritten != uint64(len(data)) || st.InFlight != 0 {
		t.Errorf("stats %+v", st)
	}
}

// blockedRead starts a read that waits for the other end of a pipe, which it
// returns. done gets the read's error.
func blockedRead(t *testing.T, s *SyncIO) (f File, w *os.File, done chan error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	file, err := s.Open(fd)
	if err != nil {
		t.Fatal(err)
	}
	f, done = file, make(chan error, 1)
	inFlight := s.Stats().InFlight
	go func() {
		// pread on a pipe fails, so that the blocking call is another.
		done <- f.(*syncFile).call(context.Background(), reactor.OpRead, func() error {
			_, err := unix.Read(fd, make([]byte, 1))
			return err
		})
	}()
	for s.Stats().InFlight == inFlight {
		time.Sleep(time.Millisecond)
	}
	return f, w, done
}

func TestSyncIOBoundsCallsThatBlock(t *testing.T) {
	s := NewSyncIO(1)
	blocked, w, done := blockedRead(t, s)
	defer blocked.Close()
	f := openSync(t, s)
	defer f.Close()
	ctx, cancel := context.WithCancel(context.Background())
	waited := make(chan error, 1)
	go func() {
		_, err := f.ReadAt(ctx, make([]byte, 1), 0)
		waited <- err
	}()
	for s.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-waited; !errors.Is(err, syscall.EINTR) {
		t.Errorf("a waiting caller that is interrupted gets %v", err)
	}
	w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestSyncIOKeepsTheDescriptorWhileInUse: a number closed too early would give
// the call another file.
func TestSyncIOKeepsTheDescriptorWhileInUse(t *testing.T) {
	s := NewSyncIO(1)
	f, w, done := blockedRead(t, s)
	fd := f.Fd()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("the descriptor of a running call is closed: %v", err)
	}
	if _, err := f.ReadAt(context.Background(), make([]byte, 1), 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("ReadAt after Close: %v", err)
	}
	w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("the descriptor stays open after the last call: %v", err)
	}
}
