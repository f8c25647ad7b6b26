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
// blocks: who waits tries again when a lock of the inode is released, and now
// and then for the sake of locks held elsewhere. So waiting holds neither a
// thread nor one of the places of IO.Block, ends at once when the caller is
// interrupted, and cannot keep an unlock out.

// maxLockWaits bounds the requests that wait for a lock at a time; each keeps
// a goroutine and a FUSE request. More get ENOLCK.
const maxLockWaits = 4096

// A lock held by somebody who is not known here is asked for again after
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

// inodeLocks is what the mount's users have locked of one inode. Its mu is held
// across calls to the backing, which so hold up nobody who locks other files.
type inodeLocks struct {
	mu     sync.Mutex
	owners map[uint64]*lockOwner // nil until there is one
	// released is closed, and made anew by the next who waits, when a lock goes.
	released chan struct{}
}

// conflict finds a lock of another owner that excludes lk.
func (l *inodeLocks) conflict(owner uint64, lk *fuse.FileLock) (holder uint64, held *lockRange) {
	for other, o := range l.owners {
		if other == owner {
			continue
		}
		for i, r := range o.ranges {
			if r.overlaps(lk) && (r.typ == syscall.F_WRLCK || lk.Typ == syscall.F_WRLCK) {
				return other, &o.ranges[i]
			}
		}
	}
	return 0, nil
}

func (r lockRange) overlaps(lk *fuse.FileLock) bool { return r.start <= lk.End && lk.Start <= r.end }

// record notes that owner holds lk now, or nothing there if it is an unlock.
func (o *lockOwner) record(lk *fuse.FileLock) {
	var kept []lockRange
	for _, r := range o.ranges {
		if !r.overlaps(lk) {
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

// setLock tries to take, change or drop a record lock, without waiting. On EAGAIN
// holder is the owner in the way, or 0 if it is not one of the mount's.
func (n *node) setLock(owner uint64, lk *fuse.FileLock) (holder uint64, errno syscall.Errno) {
	l := &n.locks
	l.mu.Lock()
	defer l.mu.Unlock()
	if lk.Typ != syscall.F_UNLCK {
		if other, held := l.conflict(owner, lk); held != nil {
			return other, syscall.EAGAIN
		}
	}
	o := l.owners[owner]
	if o == nil {
		if lk.Typ == syscall.F_UNLCK {
			return 0, 0
		}
		fd, errno := n.lockFD()
		if errno != 0 {
			return 0, errno
		}
		o = &lockOwner{fd: fd}
		if l.owners == nil {
			l.owners = map[uint64]*lockOwner{}
		}
		l.owners[owner] = o
	}
	var flock syscall.Flock_t
	lk.ToFlockT(&flock)
	err := syscall.FcntlFlock(uintptr(o.fd), unix.F_OFD_SETLK, &flock)
	if err == nil {
		o.record(lk)
		if lk.Typ != syscall.F_WRLCK {
			l.wakeLocked() // an unlock, or a write lock that became a read lock
		}
	}
	if len(o.ranges) == 0 {
		unix.Close(o.fd)
		delete(l.owners, owner)
	}
	return 0, toErrno(err)
}

// wakeLocked lets everybody who waits for the inode try again; the caller holds mu.
func (l *inodeLocks) wakeLocked() {
	if l.released != nil {
		close(l.released)
		l.released = nil
	}
}

func (l *inodeLocks) wake() {
	l.mu.Lock()
	l.wakeLocked()
	l.mu.Unlock()
}

// nextRelease is closed when a lock goes after this call.
func (l *inodeLocks) nextRelease() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.released == nil {
		l.released = make(chan struct{})
	}
	return l.released
}

// close drops every lock, at the end of the tree.
func (l *inodeLocks) close() {
	for _, o := range l.owners {
		unix.Close(o.fd)
	}
	l.owners = nil
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

// testLock fills out with a lock that excludes lk, or F_UNLCK.
func (n *node) testLock(owner uint64, lk, out *fuse.FileLock) syscall.Errno {
	l := &n.locks
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, held := l.conflict(owner, lk); held != nil {
		*out = fuse.FileLock{Start: held.start, End: held.end, Typ: held.typ, Pid: held.pid}
		return 0
	}
	// Nobody on the mount: perhaps somebody at the source.
	fd := -1
	if o := l.owners[owner]; o != nil {
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

// lockWaits are the requests of a tree that wait for a lock, of whatever inode.
type lockWaits struct {
	mu    sync.Mutex
	count int
	// holders are who an owner waits for, as often as it has requests that do.
	holders map[uint64][]uint64
}

// enter notes that owner waits for holder, if that is known, unless it closes a
// circle or there are too many.
func (w *lockWaits) enter(owner, holder uint64) syscall.Errno {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.count >= maxLockWaits {
		return syscall.ENOLCK
	}
	if holder != 0 && w.leads(holder, owner, map[uint64]bool{}) {
		return syscall.EDEADLK
	}
	w.count++
	if w.holders == nil {
		w.holders = map[uint64][]uint64{}
	}
	w.holders[owner] = append(w.holders[owner], holder)
	return 0
}

// leads reports whether owner waits, directly or through others, for target.
func (w *lockWaits) leads(owner, target uint64, seen map[uint64]bool) bool {
	seen[owner] = true
	for _, holder := range w.holders[owner] {
		if holder == target || holder != 0 && !seen[holder] && w.leads(holder, target, seen) {
			return true
		}
	}
	return false
}

func (w *lockWaits) leave(owner, holder uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count--
	holders := w.holders[owner]
	i := slices.Index(holders, holder)
	if holders = slices.Delete(holders, i, i+1); len(holders) > 0 {
		w.holders[owner] = holders
	} else {
		delete(w.holders, owner)
	}
}

// waitLock calls try until it gets the lock.
func (n *node) waitLock(ctx context.Context, owner uint64, try func() (holder uint64, errno syscall.Errno)) syscall.Errno {
	waits := &n.tree.lockWaits
	retry := lockRetryMin
	for {
		released := n.locks.nextRelease()
		holder, errno := try()
		if errno != syscall.EAGAIN {
			return errno
		}
		if errno := waits.enter(owner, holder); errno != 0 {
			return errno
		}
		var again <-chan time.Time // nobody tells when a lock held elsewhere goes
		if holder == 0 {
			again = time.After(retry)
			retry = min(2*retry, lockRetryMax)
		}
		select {
		case <-released:
		case <-again:
		case <-ctx.Done():
			errno = syscall.EINTR
		}
		waits.leave(owner, holder)
		if errno == syscall.EINTR {
			return errno
		}
	}
}

var _ = (fusefs.FileGetlker)((*handle)(nil))

func (h *handle) Getlk(ctx context.Context, owner uint64, lk *fuse.FileLock, flags uint32, out *fuse.FileLock) syscall.Errno {
	return h.node.tree.block(func() syscall.Errno { return h.node.testLock(owner, lk, out) })
}

var _ = (fusefs.FileSetlker)((*handle)(nil))

func (h *handle) Setlk(ctx context.Context, owner uint64, lk *fuse.FileLock, flags uint32) syscall.Errno {
	_, errno := h.tryLock(owner, lk, flags)
	return errno
}

var _ = (fusefs.FileSetlkwer)((*handle)(nil))

func (h *handle) Setlkw(ctx context.Context, owner uint64, lk *fuse.FileLock, flags uint32) (errno syscall.Errno) {
	h.node.tree.io.Wait(func() {
		errno = h.node.waitLock(ctx, owner, func() (uint64, syscall.Errno) {
			return h.tryLock(owner, lk, flags)
		})
	})
	return errno
}

// tryLock is setLock, or flock(2) if the flags say so.
func (h *handle) tryLock(owner uint64, lk *fuse.FileLock, flags uint32) (holder uint64, errno syscall.Errno) {
	if flags&fuse.LK_FLOCK != 0 {
		return 0, h.flock(lk.Typ)
	}
	errno = h.node.tree.block(func() (errno syscall.Errno) {
		holder, errno = h.node.setLock(owner, lk)
		return errno
	})
	if errno == 0 && lk.Typ != syscall.F_UNLCK {
		h.locks.Lock()
		if !slices.Contains(h.lockOwners, owner) {
			h.lockOwners = append(h.lockOwners, owner)
		}
		h.locks.Unlock()
	}
	return holder, errno
}

// releaseLocks drops what was locked through the handle, at its end. Processes
// have given up theirs with close(2), which flushes; what is left belongs to the
// open file description (fcntl(2), F_OFD_SETLK), for which nothing is sent.
func (h *handle) releaseLocks() {
	for _, owner := range h.lockOwners {
		h.node.setLock(owner, &fuse.FileLock{End: wholeFile, Typ: syscall.F_UNLCK})
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
	errno := h.node.tree.block(func() syscall.Errno { return toErrno(unix.Flock(h.file.Fd(), how)) })
	if errno == 0 && typ != syscall.F_WRLCK {
		h.node.locks.wake()
	}
	return errno
}
