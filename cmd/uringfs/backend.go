package main

import (
	"context"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/sirupsen/logrus"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/option"
	"github.com/uringfs/uringfs/mount"
	"github.com/uringfs/uringfs/reactor"
)

// A backend is what is served: the tree and the engine below it.
type backend struct {
	reactor *reactor.Reactor
	tree    mount.Tree
}

func openBackend(source string, s *option.Settings, _ *logrus.Entry) (*backend, error) {
	r, err := reactor.New(reactor.Config{})
	if err != nil {
		return nil, err
	}
	root, err := fusefs.NewLoopbackRoot(source)
	if err != nil {
		return nil, err
	}
	return &backend{reactor: r, tree: mount.Nodes(root, fusefs.Options{
		AttrTimeout: &s.AttrTimeout, EntryTimeout: &s.EntryTimeout, NegativeTimeout: &s.NegativeTimeout,
	})}, nil
}

func (b *backend) Stats() (reactor, tree any) { return b.reactor.Stats(), nil }

// Close gives the engine and the tree back, or leaves what hangs behind when
// ctx ends.
func (b *backend) Close(ctx context.Context) error { return b.reactor.Shutdown(ctx) }
