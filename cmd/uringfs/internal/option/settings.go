package option

import (
	"time"

	"github.com/uringfs/uringfs/mount"
)

// Settings is what all -o words together ask for.
type Settings struct {
	// Mount goes to mount.New; Source, Log and DebugRequests are the caller's.
	Mount mount.Options
	// Stages bounds the unmount at the end.
	Stages mount.Stages

	// AttrTimeout, EntryTimeout and NegativeTimeout are how long the kernel
	// may keep attributes, names and the absence of names.
	AttrTimeout, EntryTimeout, NegativeTimeout time.Duration

	// Remount asks for new flags on a mount that exists.
	Remount bool
	// Debug is the word "debug", the same as -d.
	Debug bool
}

// Default returns the settings without any -o.
func Default() *Settings {
	return &Settings{
		AttrTimeout:  time.Second,
		EntryTimeout: time.Second,
		Stages:       mount.Stages{Drain: mount.DefaultDrain, Lazy: mount.DefaultLazy},
	}
}
