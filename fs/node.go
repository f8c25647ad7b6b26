package fs

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// inodeKey tells backing inodes apart. The birth time stands for the
// generation: it is what statx(2) tells of it, and an inode number that is
// used again gets a new one.
type inodeKey struct {
	dev, ino uint64
	btime    int64
	nsec     uint32
	typ      uint16
}

func keyOf(st *unix.Statx_t) inodeKey {
	k := inodeKey{
		dev: unix.Mkdev(st.Dev_major, st.Dev_minor),
		ino: st.Ino,
		typ: st.Mode & syscall.S_IFMT,
	}
	if st.Mask&unix.STATX_BTIME != 0 {
		k.btime, k.nsec = st.Btime.Sec, st.Btime.Nsec
	}
	return k
}

// node is one backing inode that the kernel knows, whatever its names are. All
// its methods are safe for concurrent use.
type node struct {
	fusefs.Inode

	tree   *Tree
	key    inodeKey
	serial uint64 // go-fuse's and the kernel's generation: never used twice
	ref    nodeRef

	// lookups is how often the kernel was given this node; guarded by tree.mu.
	// At zero nothing refers to it and its descriptor is closed.
	lookups uint64

	// setID tells whether the inode had set-user-id or set-group-id when its
	// mode was last seen, so that most writes need not look.
	setID atomic.Bool
	// capsDropped tells that root's last act was to remove file capabilities.
	capsDropped atomic.Bool
	// direct keeps O_DIRECT requests of the backing (on) and those through its
	// page cache (off) apart; set by directOnce.
	direct     *turns
	directOnce sync.Once

	// writers counts the handles that are open for writing.
	writers atomic.Int32

	cache cacheState
	locks inodeLocks
}

// stable is what go-fuse identifies the node by. The serial alone is unique;
// ino is what users see as st_ino.
func (n *node) stable(ino uint64) fusefs.StableAttr {
	return fusefs.StableAttr{Mode: uint32(n.key.typ), Ino: ino, Gen: n.serial}
}

// adopt returns the node of the inode that fd, an O_PATH descriptor, refers to,
// counts a lookup and fills attr. It owns fd from then on. The result must be
// handed to the kernel, which will FORGET it.
func (t *Tree) adopt(ctx context.Context, parent *node, fd int, attr *fuse.Attr) (*node, syscall.Errno) {
	var st unix.Statx_t
	if errno := statxFd(fd, statxMask, &st); errno != 0 {
		unix.Close(fd)
		return nil, errno
	}
	key := keyOf(&st)
	if key.dev != t.root.key.dev && key.typ == syscall.S_IFDIR {
		t.addDevice(key.dev, fd)
	}

	t.mu.Lock()
	ino := t.inoLocked(key)
	n := t.nodes[key]
	if n != nil {
		n.lookups++
		t.mu.Unlock()
		unix.Close(fd)
	} else {
		n = &node{tree: t, key: key, lookups: 1, serial: t.nextSerial.Add(1)}
		n.ref.init(fd)
		// Under the lock, because others may be given the node from now on.
		// NewInode only numbers it.
		parent.NewInode(ctx, n, n.stable(ino))
		t.nodes[key] = n
		t.mu.Unlock()
		t.hold()
	}
	n.fillAttr(attr, &st)
	return n, 0
}

// inoLocked is the inode number users see: the backing's own, moved out of the
// way of the root device's numbers where another filesystem is mounted below
// the source. The tree itself never tells inodes apart by it.
func (t *Tree) inoLocked(key inodeKey) uint64 {
	ino := key.ino
	if key.dev != t.root.key.dev {
		if d := t.devs[key.dev]; d != nil {
			ino ^= d.index << 48
		}
	}
	if ino == 0 || ino == ^uint64(0) {
		ino = 1 << 63 // reserved by go-fuse
	}
	return ino
}

// retain counts a lookup of a node that an operation returns once more.
func (n *node) retain(lookups uint64) {
	n.tree.mu.Lock()
	n.lookups += lookups
	n.tree.mu.Unlock()
}

// forget takes lookups off the count and lets go of the inode at zero.
func (n *node) forget(lookups uint64) {
	t := n.tree
	if n == t.root {
		return
	}
	t.mu.Lock()
	n.lookups -= min(lookups, n.lookups)
	gone := n.lookups == 0
	if gone && t.nodes[n.key] == n {
		delete(t.nodes, n.key)
	}
	t.mu.Unlock()
	if gone {
		t.dropRef(n)
	}
}

var _ = (fusefs.NodeLookuper)((*node)(nil))

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fusefs.Inode, syscall.Errno) {
	p, errno := n.pin()
	if errno != 0 {
		return nil, errno
	}
	defer p.release()
	child, errno := n.tree.lookupAt(ctx, n, p.fd, name, &out.Attr)
	if errno != 0 {
		return nil, errno
	}
	return &child.Inode, 0
}

// lookupAt looks name up in the directory dirfd, which is parent's, at once if
// the backing has it cached and where it may block otherwise.
func (t *Tree) lookupAt(ctx context.Context, parent *node, dirfd int, name string, attr *fuse.Attr) (*node, syscall.Errno) {
	if t.slow {
		return t.lookupSlow(ctx, parent, dirfd, name, attr)
	}
	// What had the name last has it most often still, and its descriptor keeps
	// it cached: one call tells.
	if parent.GetChild(name) != nil {
		if n := t.lookupKnown(dirfd, name, attr); n != nil {
			return n, 0
		}
	}
	fd, errno := openPathCached(dirfd, name)
	switch errno {
	case 0:
		return t.adopt(ctx, parent, fd, attr)
	case syscall.ENOENT:
		return nil, errno
	}
	return t.lookupSlow(ctx, parent, dirfd, name, attr)
}

// lookupKnown looks for a node that the tree has, and counts a lookup of it.
func (t *Tree) lookupKnown(dirfd int, name string, attr *fuse.Attr) *node {
	var st unix.Statx_t
	if statxAt(dirfd, name, statxMask, &st) != 0 {
		return nil
	}
	t.mu.Lock()
	n := t.nodes[keyOf(&st)]
	if n != nil {
		n.lookups++
	}
	t.mu.Unlock()
	if n != nil {
		n.fillAttr(attr, &st)
	}
	return n
}

func (t *Tree) lookupSlow(ctx context.Context, parent *node, dirfd int, name string, attr *fuse.Attr) (child *node, errno syscall.Errno) {
	errno = t.block(func() syscall.Errno {
		fd, errno := t.retryShort(func() (int, syscall.Errno) { return openPath(dirfd, name) })
		if errno == 0 {
			child, errno = t.adopt(ctx, parent, fd, attr)
		}
		return errno
	})
	return child, errno
}

// control does what rawBridge.control asks for.
func (n *node) control(what uint32, lookups uint64) syscall.Errno {
	switch what {
	case controlRetain:
		n.retain(lookups)
	case controlForget:
		n.forget(lookups)
	case controlKeep:
		return n.keep()
	}
	return 0
}

// keep trades the node's descriptor for a file handle, so that it costs little
// when the kernel has forgotten it. EAGAIN means that its inode is gone.
func (n *node) keep() syscall.Errno {
	if n == n.tree.root {
		return 0
	}
	var st unix.Statx_t
	p, errno := n.pin()
	if errno == 0 {
		errno = statxFd(p.fd, unix.STATX_NLINK, &st)
		p.release()
	}
	if errno != 0 || st.Nlink == 0 {
		return syscall.EAGAIN
	}
	n.tree.demoteIdle(n)
	return 0
}

var _ = (fusefs.NodeLookupParenter)((*node)(nil))

// LookupParent says which directory the node was last seen in. The kernel asks
// when it connects a file handle to the tree.
func (n *node) LookupParent(ctx context.Context, out *fuse.EntryOut) (*fusefs.Inode, string, syscall.Errno) {
	name, inode := n.Inode.Parent()
	if inode == nil {
		return nil, "", syscall.ESTALE
	}
	parent, ok := inode.Operations().(*node)
	if !ok {
		return nil, "", syscall.ESTALE
	}
	var a fuse.AttrOut
	if errno := parent.Getattr(ctx, nil, &a); errno != 0 {
		return nil, "", errno
	}
	out.Attr = a.Attr
	parent.retain(1)
	return inode, name, 0
}

var _ = (fusefs.NodeAccesser)((*node)(nil))

// Access answers access(2) where the kernel does not check permissions itself
// (without default_permissions). It also is where rawBridge.control arrives.
func (n *node) Access(ctx context.Context, mask uint32) syscall.Errno {
	if c, ok := fuse.FromContext(ctx); ok && c.Pid == controlPid {
		return n.control(c.Uid, uint64(mask))
	}
	p, errno := n.pin()
	if errno != 0 {
		return errno
	}
	defer p.release()
	c := callerOf(ctx)
	return n.tree.block(func() syscall.Errno {
		return n.tree.id.run(c, withGroups, func() syscall.Errno {
			return toErrno(unix.Faccessat2(n.tree.procFD, procName(p.fd), mask, unix.AT_EACCESS))
		})
	})
}

var _ = (fusefs.NodeStatfser)((*node)(nil))

func (n *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	p, errno := n.pin()
	if errno != 0 {
		return errno
	}
	defer p.release()
	return n.tree.block(func() syscall.Errno {
		var st syscall.Statfs_t
		if err := syscall.Fstatfs(p.fd, &st); err != nil {
			return toErrno(err)
		}
		out.FromStatfsT(&st)
		return 0
	})
}
