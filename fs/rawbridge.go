package fs

import (
	"math"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// rawBridge stands before go-fuse's node bridge and tells the nodes what the
// bridge leaves out of a request: the umask, whether set-id bits must go,
// whether a file is in append mode, and how often an inode was looked up.
// (go-fuse v2.12.1; it can go when NodeMkdirer and its like get the header.)
type rawBridge struct {
	fuse.RawFileSystem
}

// controlPid marks requests that are not the kernel's but ours to a node.
const controlPid = math.MaxUint32

// control reaches the node behind a nodeid, which only the bridge knows, by
// way of an ACCESS request that no process can send. It takes the lookups of a
// FORGET off the node's own count, or adds one if forget is false.
func (r *rawBridge) control(nodeid uint64, forget bool, lookups uint32) {
	in := fuse.AccessIn{InHeader: fuse.InHeader{NodeId: nodeid}, Mask: lookups}
	in.Caller.Pid = controlPid
	if forget {
		in.Caller.Uid = 1
	}
	r.RawFileSystem.Access(nil, &in)
}

func (r *rawBridge) Forget(nodeid, lookups uint64) {
	// The node goes out of the tree's sight before go-fuse drops it, so that
	// nobody is given a node whose descriptor is closed.
	for rest := lookups; rest > 0; {
		part := min(rest, math.MaxUint32)
		r.control(nodeid, true, uint32(part))
		rest -= part
	}
	r.RawFileSystem.Forget(nodeid, lookups)
}

func (r *rawBridge) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if name == "." || name == ".." {
		return r.lookupDot(cancel, in, name, out)
	}
	return r.RawFileSystem.Lookup(cancel, in, name, out)
}

// lookupDot answers the lookups with which the kernel revives a file handle.
// Where go-fuse finds the node by its nodeid it counts a lookup without asking
// the node.
func (r *rawBridge) lookupDot(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	status := r.RawFileSystem.Lookup(cancel, in, name, out)
	if status == fuse.OK && name == "." {
		r.control(in.NodeId, false, 1)
	}
	return status
}

func (r *rawBridge) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	in.Caller.Pid |= in.Umask & 0777 << extraShift
	return r.RawFileSystem.Mkdir(cancel, in, name, out)
}

func (r *rawBridge) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	in.Caller.Pid |= in.Umask & 0777 << extraShift
	return r.RawFileSystem.Mknod(cancel, in, name, out)
}

func (r *rawBridge) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	in.Caller.Pid |= in.Umask & 0777 << extraShift
	if in.OpenFlags&fuse.OPEN_KILL_SUIDGID != 0 {
		in.Caller.Pid |= extraKillPriv
	}
	return r.RawFileSystem.Create(cancel, in, name, out)
}

func (r *rawBridge) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	in.Caller.Pid |= in.Umask & 0777 << extraShift
	return r.RawFileSystem.Tmpfile(cancel, in, out)
}

func (r *rawBridge) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if in.Mode&fuse.OPEN_KILL_SUIDGID != 0 {
		in.Caller.Pid |= extraKillPriv
	}
	return r.RawFileSystem.Open(cancel, in, out)
}

func (r *rawBridge) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	markWrite(in)
	return r.RawFileSystem.Write(cancel, in, data)
}

func (r *rawBridge) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	markWrite(in)
	return r.RawFileSystem.Writev(cancel, in, data)
}

func markWrite(in *fuse.WriteIn) {
	if in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0 {
		in.Caller.Pid |= extraKillPriv
	}
	if in.Flags&syscall.O_APPEND != 0 {
		in.Caller.Pid |= extraAppend
	}
}
