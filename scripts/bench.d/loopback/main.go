// Loopback mounts go-fuse's own loopback tree, the baseline that scripts/bench
// measures uringfs against: the same library, transport and mount options, with
// blocking pread and pwrite in place of the reactor.
//
// Splice is off (for 4 KiB reads it is slower than copying) and so is kernel
// passthrough, which would take the daemon out of the data path.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// buffered is a loopback node whose backing files are opened without O_DIRECT,
// as uringfs does by default: direct=1 on the mount then means that every
// request reaches the daemon, and the backing answers from its page cache.
type buffered struct {
	*fusefs.LoopbackNode
}

var _ = (fusefs.NodeWrapChilder)((*buffered)(nil))

func (n *buffered) WrapChild(_ context.Context, ops fusefs.InodeEmbedder) fusefs.InodeEmbedder {
	return &buffered{ops.(*fusefs.LoopbackNode)}
}

var _ = (fusefs.NodeOpener)((*buffered)(nil))

func (n *buffered) Open(ctx context.Context, flags uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return n.LoopbackNode.Open(ctx, flags&^syscall.O_DIRECT)
}

var _ = (fusefs.NodeCreater)((*buffered)(nil))

func (n *buffered) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fusefs.Inode, fusefs.FileHandle, uint32, syscall.Errno) {
	return n.LoopbackNode.Create(ctx, name, flags&^syscall.O_DIRECT, mode, out)
}

func run() error {
	forward := flag.Bool("forward-o-direct", false, "open backing files with the O_DIRECT of the caller, as plain go-fuse does")
	maxWrite := flag.Int("max-write", 1<<20, "largest request, in bytes")
	maxBackground := flag.Int("max-background", 64, "asynchronous requests in flight")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: loopback [flags] SOURCE MOUNTPOINT")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		return fmt.Errorf("want 2 arguments, got %d", flag.NArg())
	}
	source, mountpoint := flag.Arg(0), flag.Arg(1)

	root, err := fusefs.NewLoopbackRoot(source)
	if err != nil {
		return fmt.Errorf("open source %q: %w", source, err)
	}
	if !*forward {
		root = &buffered{root.(*fusefs.LoopbackNode)}
		root.(*buffered).RootData.RootNode = root
	}
	timeout := time.Second
	server, err := fusefs.Mount(mountpoint, root, &fusefs.Options{
		AttrTimeout:  &timeout,
		EntryTimeout: &timeout,
		MountOptions: fuse.MountOptions{
			FsName:               source,
			Name:                 "loopback",
			DirectMount:          true,
			DisableSplice:        true,
			DisabledCapabilities: fuse.CAP_PASSTHROUGH,
			MaxWrite:             *maxWrite,
			MaxBackground:        *maxBackground,
		},
	})
	if err != nil {
		return fmt.Errorf("mount %q: %w", mountpoint, err)
	}

	// The goroutine ends with the process, which outlives the mount by nothing.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		for range stop {
			if err := server.Unmount(); err != nil {
				fmt.Fprintln(os.Stderr, "loopback: unmount:", err)
			}
		}
	}()
	server.Wait()
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "loopback:", err)
		os.Exit(1)
	}
}
