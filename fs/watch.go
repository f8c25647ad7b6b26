package fs

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel can look for changes behind the mount by itself (FUSE_AUTO_INVAL_DATA):
// it drops what it has cached of a file whenever it sees a new modification time.
// But it takes a write of its own for such a change, drops the pages from under
// writes that are on their way, and reads stale ones back in (Linux 6.18: a writer
// then reads what was there before its write, once in some thousand times with
// several of them on a page). So the tree looks itself, where that costs little:
// at the files that are open with a cache, every now and then and around each
// change that it makes.

// watched are the nodes with cached handles of a tree that looks for changes itself.
type watched struct {
	every time.Duration // zero: the kernel looks
	stop  chan struct{}

	mu      sync.Mutex
	nodes   map[*node]struct{}
	linger  []*node       // whose changes linger
	lingers chan struct{} // one place: there are some
}

// watches reports whether a tree with these options looks itself. A slow backing
// is only asked when the kernel asks, and without a timeout it has to at each read.
func (o *Options) watches(slow bool) bool {
	return !slow && o.AttrTimeout > 0 && !o.WritebackCache && !o.KeepCache && !o.DirectIO && !o.Passthrough
}

// minWatch bounds how often the tree looks.
const minWatch = 5 * time.Millisecond

// startWatch begins to look, so often that no change is older than AttrTimeout
// when it is found.
func (t *Tree) startWatch() {
	if !t.opts.watches(t.slow) {
		return
	}
	w := &t.watched
	w.every, w.stop, w.nodes = max(t.opts.AttrTimeout/2, minWatch), make(chan struct{}), make(map[*node]struct{})
	w.lingers = make(chan struct{}, 1)
	t.background.Go(w.settle) // ends with stopWatch
	t.background.Go(func() {  // ends with stopWatch
		tick := time.NewTicker(w.every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				t.lookAtAll()
			case <-w.stop:
				return
			}
		}
	})
}

// add has the node's changes settled within linger.
func (w *watched) add(n *node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.linger = append(w.linger, n)
	select {
	case w.lingers <- struct{}{}:
	default:
	}
}

// settle ends the lingering of changes, of all files at once.
func (w *watched) settle() {
	for {
		select {
		case <-w.lingers:
		case <-w.stop:
			return
		}
		select {
		case <-time.After(linger):
		case <-w.stop:
			return
		}
		w.mu.Lock()
		nodes := w.linger
		w.linger = nil
		w.mu.Unlock()
		for _, n := range nodes {
			if !n.settle() {
				w.add(n)
			}
		}
	}
}

func (t *Tree) stopWatch() {
	if t.watched.stop != nil {
		close(t.watched.stop)
	}
}

func (t *Tree) lookAtAll() {
	w := &t.watched
	w.mu.Lock()
	nodes := make([]*node, 0, len(w.nodes))
	for n := range w.nodes {
		nodes = append(nodes, n)
	}
	w.mu.Unlock()
	for _, n := range nodes {
		n.look()
	}
}

// watch begins or ends to look at the node for the sake of one more cached handle.
func (n *node) watch(on bool) {
	w := &n.tree.watched
	if w.every == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case on && n.cache.handles.Add(1) == 1:
		w.nodes[n] = struct{}{}
	case !on && n.cache.handles.Add(-1) == 0:
		delete(w.nodes, n)
	}
}

// cacheState remembers what a file looked like when the kernel last started to
// cache it, or when the tree has last changed it.
type cacheState struct {
	handles  atomic.Int32 // cached ones, if the tree watches
	dropping atomic.Bool  // the kernel is about to be told to drop what it has

	// mu guards the rest, also across a look at an inode that is in memory, as it
	// is open.
	mu           sync.Mutex
	known        bool
	size         int64
	mtime, ctime unix.Timespec
	changing     int // changes by the tree that are under way

	streak   streak
	lingers  bool      // changes are over, and what they have left is not known yet
	end      int64     // the size they leave, negative if that is not known
	last     time.Time // when the last of them was over
	doubtful bool      // since the kernel started, others may have come between them unseen
}

// A look at a file costs the next write more than the look: filesystems with
// multigrain timestamps (Linux 6.13) have to set a new modification time for it,
// which XFS does not do without waiting, so that a kernel worker makes the write.
// So where changes follow each other closely, only some are looked at one by one.
const (
	// linger is how long changes are taken for one, at most, unless they overlap.
	linger = 10 * time.Millisecond
	// singleChanges is how many may be looked at one by one before that.
	singleChanges = 8
)

// streak tells changes that come now and then from those that follow each other
// closely. The former are more often linger apart.
type streak struct {
	credit int
	since  time.Time // counted up to then
}

// goesOn counts a change in, and reports whether it is one of many.
func (s *streak) goesOn(now time.Time) bool {
	if n := now.Sub(s.since) / linger; n > 0 {
		s.credit = int(min(n+time.Duration(s.credit), singleChanges))
		s.since = now
	}
	if s.credit == 0 {
		return true
	}
	s.credit--
	return false
}

// unchanged reports whether the file is as it was at the previous call or look,
// so that data cached since then is good. While the tree changes the file it says
// so too: the kernel would drop pages from under writes, and read stale ones back in.
func (c *cacheState) unchanged(fd int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changing > 0 || c.lingers {
		c.doubtful = true
		return true
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil {
		return false
	}
	same := c.known && c.size == st.Size && c.mtime == st.Mtim && c.ctime == st.Ctim
	c.record(&st)
	if same && c.doubtful && time.Since(c.last) < linger {
		return true // the next write may be on its way
	}
	same = same && !c.doubtful
	c.doubtful = false
	return same
}

func (c *cacheState) record(st *unix.Stat_t) {
	c.known, c.size, c.mtime, c.ctime = true, st.Size, st.Mtim, st.Ctim
}

// look finds out whether somebody else has changed the file, unless the tree is
// about to, and has the kernel drop what it has cached then.
func (n *node) look() {
	c := &n.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changing == 0 && !c.lingers {
		n.lookLocked()
	}
}

func (n *node) lookLocked() {
	c := &n.cache
	st, ok := n.fstat()
	if ok && c.known && (c.size != st.Size || c.mtime != st.Mtim) {
		n.dropCache()
	}
	if ok {
		c.record(&st)
	}
}

// fstat goes by the node's own descriptor: a handle may be closed once its last
// write was answered, which can be before the daemon is done with it.
func (n *node) fstat() (st unix.Stat_t, ok bool) {
	p, errno := n.pin()
	if errno != 0 {
		return st, false
	}
	defer p.release()
	return st, unix.Fstat(p.fd, &st) == nil
}

// unknownSize is for change.
const unknownSize = -1

// change begins a change of the file's data that the tree makes, which leaves the
// file no shorter than end; the function it returns, if not nil, ends it.
//
// Among changes that overlap or follow each other closely, and right after the last
// of them, others' are seen if they leave another size, or come some milliseconds
// later. In case of others the kernel's cache does not outlast the next open that
// finds the file at rest.
func (n *node) change(end int64) (done func()) {
	c := &n.cache
	if c.handles.Load() == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.changing++; {
	case c.changing > 1:
		c.doubtful = true
	case !c.lingers:
		n.lookLocked()
		c.end = c.size
	}
	if end < 0 || c.end < 0 {
		c.end = unknownSize
	} else {
		c.end = max(c.end, end)
	}
	return n.endChange
}

// cameShort says that a change under way does not leave the file as long as it was to.
func (c *cacheState) cameShort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = unknownSize
}

func (n *node) endChange() {
	c := &n.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changing--
	c.last = time.Now()
	switch {
	case c.changing > 0 || c.lingers:
	case c.streak.goesOn(c.last):
		c.lingers, c.doubtful = true, true
		n.tree.watched.add(n)
	default:
		n.settleLocked()
	}
}

// settle ends the lingering of changes, unless one is under way. It reports whether
// none lingers.
func (n *node) settle() bool {
	c := &n.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.lingers {
		return true
	}
	if c.changing > 0 {
		return false
	}
	c.lingers = false
	n.settleLocked()
	return true
}

// settleLocked takes the file as it is now for what changes have left, which are
// over.
func (n *node) settleLocked() {
	c := &n.cache
	if st, ok := n.fstat(); ok {
		if c.joined(&st) {
			n.dropCache()
		}
		c.record(&st)
	}
}

// joined reports whether the file, as it is after changes by the tree that all are
// over, shows one by others. After truncations and new times it does not.
func (c *cacheState) joined(st *unix.Stat_t) bool {
	return c.end >= 0 && (c.end != st.Size || time.Unix(st.Mtim.Unix()).After(c.last))
}

// dropCache has the kernel drop what it has cached of the file, soon: the request
// at hand may hold some of it.
func (n *node) dropCache() {
	if n.cache.dropping.Swap(true) {
		return
	}
	n.tree.background.Go(func() { // Close waits
		n.tree.notices.calls <- func() {
			n.cache.dropping.Store(false)
			n.NotifyContent(0, 0)
		}
	})
}
