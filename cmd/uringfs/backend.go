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
	reactor *reactor.Reactor // nil with engine=sync
	sync    *fs.SyncIO       // nil with engine=uring
	tree    *fs.Tree
}

func openBackend(source string, s *option.Settings, log *logrus.Entry) (*backend, error) {
	b, o := new(backend), s.Tree
	if s.Engine == option.EngineSync {
		b.sync = fs.NewSyncIO(s.Reactor.Workers)
		o.IO = b.sync
	} else {
		c := s.Reactor
		// A daemon that cannot make rings shall not have free ones.
		c.Lockdown = s.Confine != option.ConfineOff
		r, err := reactor.New(c)
		if err != nil {
			return nil, err
		}
		b.reactor, o.IO = r, fs.Reactor(r)
		if s.Uncached {
			o.IO = fs.UncachedReactor(r)
		}
	}
	o.Log = log
	tree, err := fs.New(source, o)
	if err != nil {
		return nil, errors.Join(err, b.closeEngine(context.Background()))
	}
	b.tree = tree
	return b, nil
}

func (b *backend) closeEngine(ctx context.Context) error {
	if b.reactor == nil {
		return nil
	}
	return b.reactor.Shutdown(ctx)
}

// treeStats gives the tree's counters their names in JSON.
type treeStats struct {
	Nodes     int64 `json:"nodes"`      // inodes the kernel knows
	NodeFDs   int64 `json:"node_fds"`   // descriptors held for them
	OpenFiles int64 `json:"open_files"` // open files and directories
	Demotions int64 `json:"demotions"`  // inodes that gave their descriptor up for a file handle
	Prunes    int64 `json:"prunes"`     // inodes the kernel was asked to forget
}

// engineStats are the counters of the engine in use; the other is nil.
type engineStats struct {
	Reactor *reactor.Stats `json:"reactor,omitempty"`
	Sync    *fs.SyncStats  `json:"sync,omitempty"`
}

// Stats returns the counters of the engine and of the tree.
func (b *backend) Stats() (engineStats, treeStats) {
	var e engineStats
	if b.reactor != nil {
		r := b.reactor.Stats()
		e.Reactor = &r
	} else {
		s := b.sync.Stats()
		e.Sync = &s
	}
	t := b.tree.Stats()
	return e, treeStats{t.Nodes, t.NodeFDs, t.OpenFiles, t.Demotions, t.Prunes}
}

// Close gives the engine and the tree back, or leaves what hangs behind when
// ctx ends. The mount must have ended.
func (b *backend) Close(ctx context.Context) error {
	if err := b.closeEngine(ctx); err != nil {
		// Requests may still be inside the tree.
		return err
	}
	return b.tree.Close()
}
