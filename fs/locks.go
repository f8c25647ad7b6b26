package fs

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Without Options.RemoteLocks locks are the kernel's own and never get here.
//
// With it, each lock is taken on the backing as well, so that it also excludes
// those who use the source directly. Record locks (fcntl) of one owner on one
// inode are open-file-description locks of a descriptor of its own, because
// all the mount's users are one process to the backing. No call here ever
// blocks: who waits tries again when a lock of the mount is released, and now
// and then for the sake of locks held elsewhere. So waiting holds no thread,
// ends at once when the caller is interrupted, and cannot keep an unlock out.

// maxLockWaits bounds the requests that wait for a lock at a time; each keeps
// a goroutine and a FUSE request. More get ENOLCK.
const maxLockWaits = 4096

// A lock held by somebody who is not on the mount is asked for again after
// lockRetryMin, and then ever more rarely.
const (
	lockRetryMin = 2 * time.Millisecond
	lockRetryMax = 100 * time.Millisecond
)

const wholeFile = 1<<63 - 1 // OFFSET_MAX, the last byte a lock can cover

// lockRange is a record lock; start and end are the first and last byte.
type lockRange struct {
	start, end uint64
	typ        uint32 // F_RDLCK or F_WRLCK
	pid        uint32
}

// lockOwner is what one lock owner holds on one inode.
type lockOwner struct {
	fd     int // carries the locks on the backing
	ranges []lockRange
}

// lockTable is the locks of a tree.
type lockTable struct {
	mu     sync.Mutex
	inodes map[*node]map[uint64]*lockOwner
	// released is closed and replaced whenever a lock goes.
	released chan struct{}
	waits    []lockWait
}

// lockWait is a request that waits: owner for what holder has.
type lockWait struct{ owner, holder uint64 }

func newLockTable() *lockTable {
	return &lockTable{inodes: map[*node]map[uint64]*lockOwner{}, released: make(chan struct{})}
}

func overlaps(a lockRange, lk *fuse.FileLock) bool { return a.start <= lk.End && lk.Start <= a.end }

// conflict finds a lock of another owner on n that excludes lk.
func (t *lockTable) conflict(n *node, owner uint64, lk *fuse.FileLock) (uint64, *lockRange) {
	for other, o := range t.inodes[n] {
		if other == owner {
			continue
		}
		for i, r := range o.ranges {
			if overlaps(r, lk) && (r.typ == syscall.F_WRLCK || lk.Typ == syscall.F_WRLCK) {
				return other, &o.ranges[i]
			}
		}
	}
	return 0, nil
}

// record notes that owner holds lk now, or nothing there if it is an unlock.
func (o *lockOwner) record(lk *fuse.FileLock) {
	var kept []lockRange
	for _, r := range o.ranges {
		if !overlaps(r, lk) {
			kept = append(kept, r)
			continue
		}
		if r.start < lk.Start {
			left := r
			left.end = lk.Start - 1
			kept = append(kept, left)
		}
		if r.end > lk.End {
			right := r
			right.start = lk.End + 1
			kept = append(kept, right)
		}
	}
	if lk.Typ != syscall.F_UNLCK {
		kept = append(kept, lockRange{lk.Start, lk.End, lk.Typ, lk.Pid})
	}
	o.ranges = kept
}

// set tries to take, change or drop a record lock, without waiting. On EAGAIN
// holder is the owner in the way, if it is one of the mount's.
func (t *lockTable) set(n *node, owner uint64, lk *fuse.FileLock) (holder uint64, known bool, errno syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if lk.Typ != syscall.F_UNLCK {
		if other, r := t.conflict(n, owner, lk); r != nil {
			return other, true, syscall.EAGAIN
		}
	}
	o := t.inodes[n][owner]
	if o == nil {
		if lk.Typ == syscall.F_UNLCK {
			return 0, false, 0
		}
		fd, errno := n.lockFD()
		if errno != 0 {
			return 0, false, errno
		}
		o = &lockOwner{fd: fd}
		if t.inodes[n] == nil {
			t.inodes[n] = map[uint64]*lockOwner{}
		}
		t.inodes[n][owner] = o
	}
	var flock syscall.Flock_t
	lk.ToFlockT(&flock)
	err := syscall.FcntlFlock(uintptr(o.fd), unix.F_OFD_SETLK, &flock)
	if err == nil {
		o.record(lk)
		if lk.Typ != syscall.F_WRLCK {
			t.wakeLocked() // an unlock, or a write lock that became a read lock
		}
	}
	if len(o.ranges) == 0 {
		unix.Close(o.fd)
		delete(t.inodes[n], owner)
		if len(t.inodes[n]) == 0 {
			delete(t.inodes, n)
		}
	}
	return 0, false, toErrno(err)
}

// wakeLocked lets everybody who waits try again; the caller holds mu.
func (t *lockTable) wakeLocked() {
	close(t.released)
	t.released = make(chan struct{})
}

// lockFD opens a descriptor for locks: for reading and writing, because locks
// of either kind may follow, or what the daemon may have.
func (n *node) lockFD() (int, syscall.Errno) {
	p, errno := n.pin()
	if errno != 0 {
		return -1, errno
	}
	defer p.release()
	fd := -1
	for _, mode := range []int{unix.O_RDWR, unix.O_RDONLY, unix.O_WRONLY} {
		if fd, errno = n.tree.reopen(p.fd, mode|unix.O_NONBLOCK); errno == 0 {
			return fd, 0
		}
	}
	return fd, errno
}

// test fills out with a lock that excludes lk, or F_UNLCK.
func (t *lockTable) test(n *node, owner uint64, lk *fuse.FileLock, out *fuse.FileLock) syscall.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, r := t.conflict(n, owner, lk); r != nil {
		*out = fuse.FileLock{Start: r.start, End: r.end, Typ: r.typ, Pid: r.pid}
		return 0
	}
	// Nobody on the mount: perhaps somebody at the source.
	fd := -1
	if o := t.inodes[n][owner]; o != nil {
		fd = o.fd // does not conflict with itself
	} else {
		var errno syscall.Errno
		if fd, errno = n.lockFD(); errno != 0 {
			return errno
		}
		defer unix.Close(fd)
	}
	var flock syscall.Flock_t
	lk.ToFlockT(&flock)
	if err := syscall.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &flock); err != nil {
		return toErrno(err)
	}
	*out = *lk
	out.FromFlockT(&flock)
	return 0
}

// wait calls try until it gets the lock.
func (t *lockTable) wait(ctx context.Context, owner uint64, try func() (holder uint64, known bool, errno syscall.Errno)) syscall.Errno {
	retry := lockRetryMin
	for {
		t.mu.Lock()
		released := t.released
		t.mu.Unlock()
		holder, known, errno := try()
		if errno != syscall.EAGAIN {
			return errno
		}
		if errno := t.enter(owner, holder, known); errno != 0 {
			return errno
		}
		timer := time.NewTimer(retry)
		select {
		case <-released:
		case <-timer.C:
			retry = min(2*retry, lockRetryMax)
		case <-ctx.Done():
			errno = syscall.EINTR
		}
		timer.Stop()
		t.leave(owner, holder)
		if errno == syscall.EINTR {
			return errno
		}
	}
}

// enter notes that owner waits for holder, unless that closes a circle.
func (t *lockTable) enter(owner, holder uint64, known bool) syscall.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waits) >= maxLockWaits {
		return syscall.ENOLCK
	}
	if known && t.waitsFor(holder, owner, len(t.waits)) {
		return syscall.EDEADLK
	}
	if !known {
		holder = 0
	}
	t.waits = append(t.waits, lockWait{owner, holder})
	return 0
}

// waitsFor reports whether owner waits, directly or through others, for target.
func (t *lockTable) waitsFor(owner, target uint64, depth int) bool {
	for _, w := range t.waits {
		if w.owner != owner || w.holder == 0 {
			continue
		}
		if w.holder == target || depth > 0 && t.waitsFor(w.holder, target, depth-1) {
			return true
		}
	}
	return false
}

func (t *lockTable) leave(owner, holder uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, w := range t.waits {
		if w.owner == owner && (w.holder == holder || w.holder == 0) {
			t.waits = append(t.waits[:i], t.waits[i+1:]...)
			return
		}
	}
}

// closeAll drops every lock, at the end of the tree.
func (t *lockTable) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, owners := range t.inodes {
		for _, o := range owners {
			unix.Close(o.fd)
		}
		delete(t.inodes, n)
	}
}

var _ = (fusefs.FileGetlker)((*handle)(nil))

func (h *handle) Getlk(ctx context.Context, owner uint64, lk *fuse.FileLock, flags uint32, out *fuse.FileLock) syscall.Errno {
	t := h.node.tree
	return t.block(func() syscall.Errno { return t.locks.test(h.node, owner, lk, out) })
}

var _ = (fusefs.FileSetlker)((*handle)(nil))

func (h *handle) Setlk(ctx context.Context, owner uint64, lk *fuse.FileLock, flags uint32) syscall.Errno {
	t := h.node.tree
	return t.block(func() syscall.Errno {
		_, _, errno := h.tryLock(owner, lk, flags)
		return errno
	})
}

var _ = (fusefs.FileSetlkwer)((*handle)(nil))

func (h *handle) Setlkw(ctx context.Context, owner uint64, lk *fuse.FileLock, flags uint32) syscall.Errno {
	t := h.node.tree
	return t.block(func() syscall.Errno {
		return t.locks.wait(ctx, owner, func() (uint64, bool, syscall.Errno) {
			return h.tryLock(owner, lk, flags)
		})
	})
}

func (h *handle) tryLock(owner uint64, lk *fuse.FileLock, flags uint32) (holder uint64, known bool, errno syscall.Errno) {
	if flags&fuse.LK_FLOCK != 0 {
		return 0, false, h.flock(lk.Typ)
	}
	t := h.node.tree.locks
	holder, known, errno = t.set(h.node, owner, lk)
	if errno == 0 && lk.Typ != syscall.F_UNLCK {
		t.mu.Lock()
		if !slices.Contains(h.lockOwners, owner) {
			h.lockOwners = append(h.lockOwners, owner)
		}
		t.mu.Unlock()
	}
	return holder, known, errno
}

// releaseLocks drops what was locked through the handle, at its end. Processes
// have given up theirs with close(2), which flushes; what is left belongs to the
// open file description (fcntl(2), F_OFD_SETLK), for which nothing is sent.
func (h *handle) releaseLocks() {
	t := h.node.tree.locks
	t.mu.Lock()
	owners := h.lockOwners
	h.lockOwners = nil
	t.mu.Unlock()
	for _, owner := range owners {
		t.set(h.node, owner, &fuse.FileLock{End: wholeFile, Typ: syscall.F_UNLCK})
	}
}

// flock locks the whole file for this handle: a handle is an open file
// description of the caller's and has one of its own on the backing.
func (h *handle) flock(typ uint32) syscall.Errno {
	how := unix.LOCK_NB
	switch typ {
	case syscall.F_RDLCK:
		how |= unix.LOCK_SH
	case syscall.F_WRLCK:
		how |= unix.LOCK_EX
	default:
		how |= unix.LOCK_UN
	}
	errno := toErrno(unix.Flock(h.file.Fd(), how))
	if errno == 0 && typ != syscall.F_WRLCK {
		h.node.tree.locks.mu.Lock()
		h.node.tree.locks.wakeLocked()
		h.node.tree.locks.mu.Unlock()
	}
	return errno
}
