package main

import (
	"context"
	"errors"

	"github.com/sirupsen/logrus"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/option"
	"github.com/uringfs/uringfs/fs"
	"github.com/uringfs/uringfs/reactor"
)

// A backend is what is served: the tree and the engine below it.
type backend struct {
	reactor *reactor.Reactor
	tree    *fs.Tree
}

func openBackend(source string, s *option.Settings, log *logrus.Entry) (*backend, error) {
	r, err := reactor.New(s.Reactor)
	if err != nil {
		return nil, err
	}
	o := s.Tree
	o.IO, o.Log = fs.Reactor(r), log
	tree, err := fs.New(source, o)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &backend{reactor: r, tree: tree}, nil
}

// treeStats gives the tree's counters their names in JSON.
type treeStats struct {
	Nodes     int64 `json:"nodes"`      // inodes the kernel knows
	NodeFDs   int64 `json:"node_fds"`   // descriptors held for them
	OpenFiles int64 `json:"open_files"` // open files and directories
	Demotions int64 `json:"demotions"`  // inodes that gave their descriptor up for a file handle
	Prunes    int64 `json:"prunes"`     // inodes the kernel was asked to forget
}

// Stats returns the counters of the engine and of the tree.
func (b *backend) Stats() (reactor.Stats, treeStats) {
	t := b.tree.Stats()
	return b.reactor.Stats(), treeStats{t.Nodes, t.NodeFDs, t.OpenFiles, t.Demotions, t.Prunes}
}

// Close gives the engine and the tree back, or leaves what hangs behind when
// ctx ends. The mount must have ended.
func (b *backend) Close(ctx context.Context) error {
	if err := b.reactor.Shutdown(ctx); err != nil {
		// Requests may still be inside the tree.
		return err
	}
	return b.tree.Close()
}
