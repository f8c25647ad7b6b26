package fs_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/uringfs/uringfs/fs"
)

// client speaks the FUSE protocol to a tree in the same process, without the
// kernel: what is measured is the tree.
type client struct {
	server *fuse.ProtocolServer
	in     [4096]byte
	out    [8192]byte
	unique uint64
}

const (
	opLookup, opForget, opGetattr, opUnlink = 1, 2, 3, 10
	opOpen, opRelease, opInit, opCreate     = 14, 18, 26, 35
)

// call sends a request with that body and returns the body of the answer.
func (c *client) call(b *testing.B, opcode uint32, nodeid uint64, body ...[]byte) []byte {
	n := 40
	for _, p := range body {
		n += copy(c.in[n:], p)
	}
	c.unique += 2
	in := c.in[:n]
	binary.NativeEndian.PutUint32(in, uint32(n))
	binary.NativeEndian.PutUint32(in[4:], opcode)
	binary.NativeEndian.PutUint64(in[8:], c.unique)
	binary.NativeEndian.PutUint64(in[16:], nodeid)
	clear(in[24:40])
	binary.NativeEndian.PutUint32(in[32:], uint32(os.Getpid()))
	size, status := c.server.HandleRequest([][]byte{in}, [][]byte{c.out[:]})
	if status != fuse.OK {
		b.Fatalf("opcode %d: %v", opcode, status)
	}
	if size >= 16 {
		if errno := int32(binary.NativeEndian.Uint32(c.out[4:])); errno != 0 {
			b.Fatalf("opcode %d: errno %d", opcode, -errno)
		}
	}
	return c.out[16:max(size, 16)]
}

func u32(v ...uint32) (p []byte) {
	for _, x := range v {
		p = binary.NativeEndian.AppendUint32(p, x)
	}
	return p
}

func u64(v ...uint64) (p []byte) {
	for _, x := range v {
		p = binary.NativeEndian.AppendUint64(p, x)
	}
	return p
}

func newClient(b *testing.B, dir string, loopback bool) *client {
	b.Helper()
	second := time.Second
	opts := fusefs.Options{AttrTimeout: &second, EntryTimeout: &second, NullPermissions: true}
	var raw fuse.RawFileSystem
	if loopback {
		root, err := fusefs.NewLoopbackRoot(dir)
		if err != nil {
			b.Fatal(err)
		}
		raw = fusefs.NewNodeFS(root, &opts)
	} else {
		tree, err := fs.New(dir, fs.Options{IO: fs.NewSyncIO(0), AttrTimeout: second, EntryTimeout: second})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { tree.Close() })
		opts = tree.FuseOptions()
		raw = tree.RawFileSystem(&opts)
	}
	c := &client{server: fuse.NewProtocolServer(raw, &opts.MountOptions)}
	flags := uint64(fuse.CAP_ASYNC_READ | fuse.CAP_BIG_WRITES | fuse.CAP_ATOMIC_O_TRUNC)
	c.call(b, opInit, 0, u32(7, 40, 128<<10, uint32(flags)), make([]byte, 48))
	return c
}

// BenchmarkTree compares the tree with go-fuse's loopback, request by request.
func BenchmarkTree(b *testing.B) {
	dir := b.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d/f"), []byte("text"), 0644); err != nil {
		b.Fatal(err)
	}
	for _, kind := range []string{"uringfs", "loopback"} {
		c := newClient(b, dir, kind == "loopback")
		d := binary.NativeEndian.Uint64(c.call(b, opLookup, 1, []byte("d\x00")))
		f := binary.NativeEndian.Uint64(c.call(b, opLookup, d, []byte("f\x00")))
		b.Run("lookup-known/"+kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.call(b, opLookup, d, []byte("f\x00"))
			}
		})
		b.Run("lookup-forget/"+kind, func(b *testing.B) {
			b.ReportAllocs()
			if err := os.WriteFile(filepath.Join(dir, "d/g"), nil, 0644); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				g := binary.NativeEndian.Uint64(c.call(b, opLookup, d, []byte("g\x00")))
				c.call(b, opForget, g, u64(1))
			}
		})
		b.Run("getattr/"+kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.call(b, opGetattr, f, u64(0, 0))
			}
		})
		b.Run("open-release/"+kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fh := binary.NativeEndian.Uint64(c.call(b, opOpen, f, u32(uint32(os.O_RDONLY), 0)))
				c.call(b, opRelease, f, u64(fh, 0, 0))
			}
		})
		b.Run("create-unlink/"+kind, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				name := fmt.Appendf(nil, "n%d\x00", i)
				out := c.call(b, opCreate, d, u32(uint32(os.O_WRONLY|os.O_CREATE), 0100644, 022, 0), name)
				node, fh := binary.NativeEndian.Uint64(out), binary.NativeEndian.Uint64(out[128:])
				c.call(b, opRelease, node, u64(fh, 0, 0))
				c.call(b, opUnlink, d, name)
				c.call(b, opForget, node, u64(1))
			}
		})
	}
}
