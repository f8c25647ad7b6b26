package fs

import (
	"sync/atomic"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
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
// release it. It fails with ESTALE on a node that the kernel has forgotten.
func (n *node) pin() (pathFD, syscall.Errno) {
	for {
		pins := n.ref.pins.Load()
		switch {
		case pins < 0 && n.ref.dead.Load():
			return pathFD{fd: -1}, syscall.ESTALE
		case pins < 0:
			fd, errno := n.tree.openHandle(n)
			return pathFD{fd: fd}, errno
		case n.ref.pins.CompareAndSwap(pins, pins+1):
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
	// expiring tells that a background goroutine makes the kernel forget.
	expiring  atomic.Bool
	lastPrune atomic.Int64 // Unix time in ns
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
	fd := -1
	errno := t.block(func() (errno syscall.Errno) {
		fd, errno = t.retryShort(func() (int, syscall.Errno) {
			for {
				fd, err := unix.OpenByHandleAt(d.mountFD, *n.ref.handle, unix.O_PATH|unix.O_CLOEXEC)
				if err != syscall.EINTR {
					return fd, staleErrno(err)
				}
			}
		})
		return errno
	})
	return fd, errno
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
	// Demotion makes room at once. Where the kernel has to forget first, its
	// FORGETs are milliseconds away, and it may be busy.
	for wait := time.Millisecond; wait <= 512*time.Millisecond; wait *= 2 {
		if errno != syscall.EMFILE && errno != syscall.ENFILE {
			break
		}
		if t.shrink() == 0 {
			time.Sleep(wait)
		}
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
// them into file handles where those can be opened again, and else asks the
// kernel to forget them. It returns how many descriptors it closed itself.
func (t *Tree) shrink() (closed int) {
	if !t.fds.shrinking.CompareAndSwap(false, true) {
		return 0
	}
	defer t.fds.shrinking.Store(false)
	demotable, others := t.candidates(int(t.fds.held.Load()/4) + 1)
	for _, n := range demotable {
		if t.demote(n) {
			closed++
		}
	}
	if closed == 0 && len(others) > 0 {
		t.prune(others)
	}
	return closed
}

// candidates picks up to want idle nodes of either kind. Go's map order spreads
// them; an order of last use would cost every request.
func (t *Tree) candidates(want int) (demotable, others []*node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.nodes {
		if n.ref.pins.Load() != 0 {
			continue
		}
		if d := t.devs[n.key.dev]; d != nil && d.mountFD >= 0 {
			if demotable = append(demotable, n); len(demotable) == want {
				break
			}
		} else if n.key.typ != syscall.S_IFDIR && len(others) < want {
			// Directories stay as long as the kernel knows what is in them.
			others = append(others, n)
		}
	}
	return demotable, others
}

// prunePause keeps requests to forget apart, for the kernel takes a while.
const prunePause = 5 * time.Millisecond

// prune asks the kernel to forget nodes that nobody uses.
func (t *Tree) prune(nodes []*node) {
	now := time.Now().UnixNano()
	if last := t.fds.lastPrune.Load(); now-last < int64(prunePause) {
		return
	}
	t.fds.lastPrune.Store(now)
	t.fds.prunes.Add(int64(len(nodes)))
	inodes := make([]*fusefs.Inode, len(nodes))
	for i, n := range nodes {
		inodes[i] = &n.Inode
	}
	// FUSE_NOTIFY_PRUNE, Linux 6.18.
	if t.root.NotifyPrune(inodes) != syscall.ENOSYS {
		return
	}
	// Else name by name, which takes the lock of the parent directory that the
	// request at hand may hold: not from here. It ends by itself; Close waits.
	if !t.fds.expiring.CompareAndSwap(false, true) {
		return
	}
	t.background.Go(func() {
		defer t.fds.expiring.Store(false)
		for _, inode := range inodes {
			if name, parent := inode.Parent(); parent != nil {
				parent.NotifyEntry(name)
			}
		}
	})
}

// demoteIdle demotes n if its device has handles that can be opened.
func (t *Tree) demoteIdle(n *node) {
	t.mu.Lock()
	d := t.devs[n.key.dev]
	t.mu.Unlock()
	if d != nil && d.mountFD >= 0 {
		t.demote(n)
	}
}

// demote swaps the descriptor of n for a file handle unless n is in use.
func (t *Tree) demote(n *node) bool {
	p, errno := n.pin()
	if errno != 0 {
		return false
	}
	if p.node == nil {
		p.release()
		return false
	}
	handle, _, err := unix.NameToHandleAt(p.fd, "", unix.AT_EMPTY_PATH)
	if err != nil {
		p.release()
		return false
	}
	n.ref.handle = &handle
	// Ours is the last pin, or somebody else is at work and keeps it open.
	if n.ref.pins.CompareAndSwap(1, demoted) {
		unix.Close(p.fd)
		t.fds.held.Add(-1)
		t.fds.demotions.Add(1)
		return true
	}
	p.release()
	return false
}
