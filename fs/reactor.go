package fs

import "github.com/uringfs/uringfs/reactor"

// Reactor makes the io_uring reactor r the IO of a tree. The tree does not
// close it.
func Reactor(r *reactor.Reactor) IO { return reactorIO{r} }

type reactorIO struct{ *reactor.Reactor }

// UncachedReactor is [Reactor] with I/O that leaves nothing in the page cache of
// the backing, where the backing can do that (Linux 6.14; ext4, XFS, btrfs).
func UncachedReactor(r *reactor.Reactor) IO { return uncachedIO{reactorIO{r}} }

type uncachedIO struct{ reactorIO }

// Open puts fd under the reactor's care.
func (io uncachedIO) Open(fd int) (File, error) {
	f, err := io.Reactor.Open(fd)
	if err != nil {
		return nil, err
	}
	f.PassOn()
	f.SetUncached()
	return f, nil
}

// Open puts fd under the reactor's care.
func (io reactorIO) Open(fd int) (File, error) {
	f, err := io.Reactor.Open(fd)
	if err != nil {
		return nil, err
	}
	f.PassOn() // handle.Read adds nothing
	return f, nil
}

var _ File = (*reactor.File)(nil)
