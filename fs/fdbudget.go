package fs

import (
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// nodeRef is how a node holds its inode: an O_PATH descriptor, or, after
// demotion, a file handle that is opened for each use.
type nodeRef struct {
	// pins counts the users of fd; demoted (negative) means that fd is closed
	// and handle is to be used, which was then set before pins.
	pins   atomic.Int64
	fd     int
	handle *unix.FileHandle
	// dead asks the last user of fd to close it.
	dead atomic.Bool
}

const demoted = -1

func (r *nodeRef) init(fd int) { r.fd = fd }

// pathFD is a node's descriptor for the time of one operation.
type pathFD struct {
	fd   int
	node *node // nil if fd was opened for this use alone
}

func (p pathFD) release() {
	if p.node == nil {
		unix.Close(p.fd)
		return
	}
	ref := &p.node.ref
	if ref.pins.Add(-1) == 0 && ref.dead.Load() {
		p.node.tree.dropRef(p.node)
	}
}

// pin returns an O_PATH descriptor of the node's inode. The caller must
// release it.
func (n *node) pin() (pathFD, syscall.Errno) {
	for {
		pins := n.ref.pins.Load()
		if pins < 0 {
			fd, errno := n.tree.openHandle(n)
			return pathFD{fd: fd}, errno
		}
		if n.ref.pins.CompareAndSwap(pins, pins+1) {
			return pathFD{fd: n.ref.fd, node: n}, 0
		}
	}
}

// fdBudget bounds the descriptors that nodes hold.
type fdBudget struct {
	limit     int64
	held      atomic.Int64
	demotions atomic.Int64
	prunes    atomic.Int64
	// shrinking lets one goroutine at a time look for descriptors to close.
	shrinking atomic.Bool
}

func (b *fdBudget) init(limit int) {
	b.limit = int64(limit)
	if limit > 0 {
		return
	}
	var rl unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &rl); err != nil || rl.Cur > 1<<30 {
		rl.Cur = 1 << 20
	}
	// The rest is for open files, rings and the daemon itself.
	b.limit = max(int64(rl.Cur)/2, 16)
}

// device is one filesystem below the source.
type device struct {
	index uint64 // 0 for the root's
	// mountFD is an open directory on it, for open_by_handle_at(2), or -1
	// where handles cannot be opened.
	mountFD int
}

// addDevice registers dev, of which fd is a directory, or returns the known
// one. Only its first caller opens anything.
func (t *Tree) addDevice(dev uint64, fd int) *device {
	t.mu.Lock()
	d := t.devs[dev]
	t.mu.Unlock()
	if d != nil {
		return d
	}
	mountFD := openMount(fd)
	t.mu.Lock()
	defer t.mu.Unlock()
	if d := t.devs[dev]; d != nil {
		if mountFD >= 0 {
			unix.Close(mountFD)
		}
		return d
	}
	d = &device{index: uint64(len(t.devs)), mountFD: mountFD}
	t.devs[dev] = d
	return d
}

// openMount opens the directory fd for open_by_handle_at, if that works here:
// it takes CAP_DAC_READ_SEARCH and a filesystem that has handles.
func openMount(fd int) int {
	handle, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		return -1
	}
	mountFD, errno := openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if errno != 0 {
		return -1
	}
	again, err := unix.OpenByHandleAt(mountFD, handle, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		unix.Close(mountFD)
		return -1
	}
	unix.Close(again)
	return mountFD
}

// openHandle opens a demoted node by its file handle.
func (t *Tree) openHandle(n *node) (int, syscall.Errno) {
	t.mu.Lock()
	d := t.devs[n.key.dev]
	t.mu.Unlock()
	if d == nil || d.mountFD < 0 {
		return -1, syscall.ESTALE
	}
	return t.retryShort(func() (int, syscall.Errno) {
		for {
			fd, err := unix.OpenByHandleAt(d.mountFD, *n.ref.handle, unix.O_PATH|unix.O_CLOEXEC)
			if err != syscall.EINTR {
				return fd, staleErrno(err)
			}
		}
	})
}

// staleErrno is toErrno for handles of inodes that are gone.
func staleErrno(err error) syscall.Errno {
	if errno := toErrno(err); errno != syscall.ENOENT {
		return errno
	}
	return syscall.ESTALE
}

// retryShort calls open, and again after making room if descriptors were short.
func (t *Tree) retryShort(open func() (int, syscall.Errno)) (int, syscall.Errno) {
	fd, errno := open()
	for range 3 {
		if errno != syscall.EMFILE && errno != syscall.ENFILE {
			break
		}
		t.shrink()
		fd, errno = open()
	}
	return fd, errno
}

// hold counts a node's new descriptor and makes room for others if the budget
// is exceeded.
func (t *Tree) hold() {
	if t.fds.held.Add(1) > t.fds.limit {
		t.shrink()
	}
}

// dropRef closes the descriptor of a node that the kernel has forgotten, now
// or when its last user is done.
func (t *Tree) dropRef(n *node) {
	n.ref.dead.Store(true)
	if n.ref.pins.CompareAndSwap(0, demoted) {
		unix.Close(n.ref.fd)
		t.fds.held.Add(-1)
	}
}

// shrink makes nodes give up a quarter of the descriptors they hold: it turns
// them into file handles where those can be opened again.
func (t *Tree) shrink() {
	if !t.fds.shrinking.CompareAndSwap(false, true) {
		return
	}
	defer t.fds.shrinking.Store(false)
	want := int(t.fds.held.Load()/4) + 1
	// Candidates are collected under the lock and demoted outside of it.
	// Go's map order spreads them; a recency order would cost every request.
	candidates := make([]*node, 0, want)
	t.mu.Lock()
	for _, n := range t.nodes {
		if n.ref.pins.Load() != 0 {
			continue
		}
		if d := t.devs[n.key.dev]; d == nil || d.mountFD < 0 {
			continue
		}
		if candidates = append(candidates, n); len(candidates) == want {
			break
		}
	}
	t.mu.Unlock()
	for _, n := range candidates {
		t.demote(n)
	}
}

// demote swaps the descriptor of n for a file handle unless n is in use.
func (t *Tree) demote(n *node) {
	p, errno := n.pin()
	if errno != 0 {
		return
	}
	if p.node == nil {
		p.release()
		return
	}
	handle, _, err := unix.NameToHandleAt(p.fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		p.release()
		return
	}
	n.ref.handle = &handle
	// Ours is the last pin, or somebody else is at work and keeps it open.
	if n.ref.pins.CompareAndSwap(1, demoted) {
		unix.Close(p.fd)
		t.fds.held.Add(-1)
		t.fds.demotions.Add(1)
		return
	}
	p.release()
}
