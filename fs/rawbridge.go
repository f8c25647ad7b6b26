package fs

import (
	"math"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// rawBridge stands before go-fuse's node bridge and tells the nodes what the
// bridge leaves out of a request: the umask, whether set-id bits must go,
// whether a file is in append mode, and how often an inode was looked up.
// (go-fuse v2.12.1; it can go when NodeMkdirer and its like get the header.)
type rawBridge struct {
	fuse.RawFileSystem
	tree *Tree
	kept *keptLookups // nil: what the kernel forgets is forgotten
}

// controlPid marks requests that are not the kernel's but ours to a node.
const controlPid = math.MaxUint32

// What a control request is about.
const (
	controlRetain = iota // lookups more
	controlForget        // lookups less
	controlKeep          // may the node stay? EAGAIN if not
)

// control reaches the node behind a nodeid, which only the bridge knows, by
// way of an ACCESS request that no process can send.
func (r *rawBridge) control(nodeid uint64, what, lookups uint32) fuse.Status {
	in := fuse.AccessIn{InHeader: fuse.InHeader{NodeId: nodeid}, Mask: lookups}
	in.Caller.Pid, in.Caller.Uid = controlPid, what
	return r.RawFileSystem.Access(nil, &in)
}

func (r *rawBridge) Forget(nodeid, lookups uint64) {
	if r.kept != nil {
		keep := r.control(nodeid, controlKeep, 0) == fuse.OK
		if lookups = r.kept.forget(nodeid, lookups, keep); keep {
			return
		}
	}
	// The node goes out of the tree's sight before go-fuse drops it, so that
	// nobody is given a node whose descriptor is closed.
	for rest := lookups; rest > 0; {
		part := min(rest, math.MaxUint32)
		r.control(nodeid, controlForget, uint32(part))
		rest -= part
	}
	r.RawFileSystem.Forget(nodeid, lookups)
}

// keptLookups are lookups that the kernel has forgotten and the tree has not,
// by nodeid (Options.NFSExport).
type keptLookups struct {
	mu    sync.Mutex
	count map[uint64]uint64
}

// forget adds lookups to those kept of nodeid, or takes all of them out if they
// are not to be kept. It returns the sum.
func (k *keptLookups) forget(nodeid, lookups uint64, keep bool) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	lookups += k.count[nodeid]
	if keep {
		k.count[nodeid] = lookups
	} else {
		delete(k.count, nodeid)
	}
	return lookups
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
		r.control(in.NodeId, controlRetain, 1)
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

// Flush is sent by close(2), which releases the caller's record locks. go-fuse
// does not tell the node whose they are.
func (r *rawBridge) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	status := r.RawFileSystem.Flush(cancel, in)
	if r.tree.opts.RemoteLocks {
		r.RawFileSystem.SetLk(cancel, &fuse.LkIn{
			InHeader: in.InHeader,
			Fh:       in.Fh,
			Owner:    in.LockOwner,
			Lk:       fuse.FileLock{End: wholeFile, Typ: syscall.F_UNLCK},
		})
	}
	return status
}

// Release waits, inside go-fuse, for the GETATTRs that the handle was lent to
// (v2.12.1, fs/bridge.go: firstOpenFile). Such a one may be a task of the very
// thread that a RELEASE would hold, so where GETATTR can wait RELEASE goes apart.
func (r *rawBridge) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	r.apart(func() { r.RawFileSystem.Release(cancel, in) })
}

// ReleaseDir is as Release.
func (r *rawBridge) ReleaseDir(in *fuse.ReleaseIn) {
	r.apart(func() { r.RawFileSystem.ReleaseDir(in) })
}

func (r *rawBridge) apart(fn func()) {
	if r.tree.slow || r.tree.fds.demotions.Load() > 0 {
		r.tree.io.Block(fn)
	} else {
		fn()
	}
}
