package fs

import "github.com/uringfs/uringfs/reactor"

// Reactor makes the io_uring reactor r the IO of a tree. The tree does not
// close it.
func Reactor(r *reactor.Reactor) IO { return reactorIO{r} }

type reactorIO struct{ *reactor.Reactor }

// Open puts fd under the reactor's care.
func (io reactorIO) Open(fd int) (File, error) {
	f, err := io.Reactor.Open(fd)
	if err != nil {
		return nil, err
	}
	return f, nil
}

var _ File = (*reactor.File)(nil)
