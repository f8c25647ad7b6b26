package option

import (
	"time"

	"github.com/uringfs/uringfs/fs"
	"github.com/uringfs/uringfs/mount"
	"github.com/uringfs/uringfs/reactor"
)

// The engines.
const (
	EngineUring = "uring"
	EngineSync  = "sync"
)

// When to confine the daemon.
const (
	ConfineAuto = "auto"
	ConfineOn   = "on"
	ConfineOff  = "off"
)

// Settings is what all -o words together ask for.
type Settings struct {
	// Mount goes to mount.New; Source, Log and DebugRequests are the caller's.
	Mount mount.Options
	// Stages bounds the unmount at the end.
	Stages mount.Stages

	// Tree goes to fs.New; IO and Log are the caller's.
	Tree fs.Options
	// Engine does the file I/O: EngineUring or EngineSync.
	Engine string
	// Reactor goes to reactor.New; with EngineSync its Workers alone count.
	Reactor reactor.Config

	// Uncached asks for I/O that leaves nothing in the backing's page cache.
	Uncached bool
	// Confine is ConfineAuto, ConfineOn or ConfineOff.
	Confine string

	// Remount asks for new flags on a mount that exists.
	Remount bool
	// Debug is the word "debug", the same as -d.
	Debug bool
}

// Default returns the settings without any -o.
func Default() *Settings {
	return &Settings{
		Tree:    fs.Options{AttrTimeout: time.Second, EntryTimeout: time.Second},
		Reactor: reactor.Config{Patience: fs.Patience},
		Stages:  mount.Stages{Drain: mount.DefaultDrain, Lazy: mount.DefaultLazy},
	}
}
