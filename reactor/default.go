package reactor

import (
	"context"
	"sync"
)

// Default is the reactor behind the package-level functions. It is made on
// first use, and is not to be closed.
func Default() (*Reactor, error) { return makeDefault() }

var makeDefault = sync.OnceValues(func() (*Reactor, error) { return New(Config{}) })

// Read reads up to len(p) bytes of fd at its own position into p, like read(2):
// 0 with a nil error is the end of the file. fd stays the caller's, who keeps it
// open: file.Fd() of an [os.File] will do as long as file is not closed. The
// functions of this kind ask statfs(2) for the class of fd each time; who does
// much with one descriptor gives it to a [File].
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
	// Never closed: the descriptor stays the caller's.
	f := borrowed.Get().(*File)
	f.r, f.fd, f.class = r, op.FD, ClassOf(op.FD)
	f.pins.Store(1)
	n, err := f.transfer(context.Background(), &op)
	if f.class == ClassInline { // else an operation that goes on without its caller may have it
		borrowed.Put(f)
	}
	return n, err
}

// borrowed are the Files of descriptors that are the callers'.
var borrowed = sync.Pool{New: func() any { return new(File) }}
