package reactor

import (
	"context"
	"sync"
)

// Default is the reactor behind the package-level functions. It is made on
// first use and never closed.
var Default = sync.OnceValues(func() (*Reactor, error) { return New(Config{}) })

// Read reads up to len(p) bytes of fd at its own position into p, like read(2):
// 0 with a nil error is the end of the file.
func Read(fd int, p []byte) (int, error) { return ReadAt(fd, p, AtPosition) }

// Write writes p to fd at its own position, like write(2), and goes on until all
// of it is written: n < len(p) only with an error.
func Write(fd int, p []byte) (int, error) { return WriteAt(fd, p, AtPosition) }

// ReadAt fills p from byte offset off of fd. See [File.ReadAt].
func ReadAt(fd int, p []byte, off int64) (int, error) {
	return onDefault(Op{Code: OpRead, FD: fd, Buf: p, Off: off})
}

// WriteAt writes p at byte offset off of fd. See [File.WriteAt].
func WriteAt(fd int, p []byte, off int64) (int, error) {
	return onDefault(Op{Code: OpWrite, FD: fd, Buf: p, Off: off})
}

func onDefault(op Op) (int, error) {
	r, err := Default()
	if err != nil {
		return 0, err
	}
	// Neither closed nor pinned: the descriptor stays the caller's.
	f := File{r: r, fd: op.FD, class: ClassOf(op.FD)}
	f.pins.Store(1)
	return f.transfer(context.Background(), &op)
}
