// Slowfs mounts a directory whose operations can be made to wait: a stand-in for
// a network filesystem that is slow, or that hangs.
//
//	slowfs [-delay 10ms] [-hang] [-interrupt honour|ignore] [-ops read,write] SOURCE MOUNTPOINT
//
// It runs in the foreground until it is unmounted or gets SIGTERM. Operations
// that wait hold no thread. Lines written to MOUNTPOINT/.slowfs change it while
// it runs:
//
//	delay 10ms          each slow operation takes so long
//	hang                slow operations wait for a release
//	release             let go what waits; nothing is slow from now on
//	interrupt honour    an interrupted operation ends with EINTR (the default)
//	interrupt ignore    an interrupted operation goes on waiting
//	ops read,write      which operations are slow
//
// and reading it gives the numbers of operations that wait now ("waiting 3"),
// that waited and went on ("passed 10"), and that were interrupted.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// mount mounts source on mountpoint with the operations of g made slow.
func mount(source, mountpoint string, g *gate) (*fuse.Server, error) {
	loopback, err := fusefs.NewLoopbackRoot(source)
	if err != nil {
		return nil, fmt.Errorf("open source %q: %w", source, err)
	}
	root := &node{loopback.(*fusefs.LoopbackNode), g}
	root.RootData.RootNode = root
	noCache := time.Duration(0) // metadata is asked for each time, as slow as it may be
	return fusefs.Mount(mountpoint, root, &fusefs.Options{
		AttrTimeout:  &noCache,
		EntryTimeout: &noCache,
		OnAdd: func(ctx context.Context) {
			child := root.NewPersistentInode(ctx, &control{gate: g}, fusefs.StableAttr{Mode: syscall.S_IFREG})
			root.AddChild(controlName, child, true)
		},
		MountOptions: fuse.MountOptions{
			FsName:               source,
			Name:                 "slowfs",
			DirectMount:          true,
			DisableSplice:        true,
			DisabledCapabilities: fuse.CAP_PASSTHROUGH,
			MaxWrite:             1 << 20,
			MaxBackground:        4096,
		},
	})
}

func run() error {
	g := newGate()
	flag.DurationVar(&g.delay, "delay", 0, "time that a slow operation takes")
	flag.BoolVar(&g.hang, "hang", false, "slow operations wait for a release")
	interrupt := flag.String("interrupt", "honour", "honour or ignore interrupts")
	ops := flag.String("ops", "read,write,fsync", "operations that are slow, of "+strings.Join(opNames, ","))
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: slowfs [flags] SOURCE MOUNTPOINT")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		return fmt.Errorf("want 2 arguments, got %d", flag.NArg())
	}
	if err := g.setOps(*ops); err != nil {
		return err
	}
	if err := g.command("interrupt " + *interrupt); err != nil {
		return err
	}
	server, err := mount(flag.Arg(0), flag.Arg(1), g)
	if err != nil {
		return err
	}

	// The goroutine ends with the process, which ends with the mount.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		for range stop {
			g.command("release")
			if err := server.Unmount(); err != nil {
				fmt.Fprintln(os.Stderr, "slowfs: unmount:", err)
			}
		}
	}()
	server.Wait()
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "slowfs:", err)
		os.Exit(1)
	}
}
