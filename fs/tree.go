package fs

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// Options say how a [Tree] serves its source. The zero value of each field but
// IO is a valid choice.
type Options struct {
	// IO carries file data and moves blocking calls out of the way. Required.
	IO IO

	// Log gets what an operator should know. Nil logs nothing.
	Log *logrus.Entry

	// AttrTimeout and EntryTimeout are how long the kernel may answer from its
	// caches without asking, which bounds how late changes made behind the
	// mount are seen. NegativeTimeout is the same for names that do not exist.
	// Zero caches nothing.
	AttrTimeout, EntryTimeout, NegativeTimeout time.Duration

	// BackingDirect passes O_DIRECT on to the backing, for requests as it takes
	// them; those that are not aligned, and those of files opened with O_APPEND,
	// go through its page cache. Otherwise an O_DIRECT
	// open bypasses the page cache of the mount but not that of the backing.
	BackingDirect bool

	// Passthrough lets the kernel read and write the backing files itself (Linux
	// 6.9), which takes CAP_SYS_ADMIN; where it will not, IO does it as always.
	// Nothing of IO applies to what goes that way, nor do BackingDirect, DirectIO,
	// WritebackCache, KeepCache and NoAtime, which must be off.
	Passthrough bool

	// NoXattr makes the mount answer EOPNOTSUPP to all extended attributes.
	NoXattr bool

	// ACL makes the kernel enforce POSIX ACLs. Without it they are stored and
	// returned, but only the mode decides.
	ACL bool

	// WritebackCache lets the kernel collect writes. Size and times are then
	// the kernel's, so nobody else should write to the source.
	WritebackCache bool

	// DirectIO bypasses the page cache of the mount on every open.
	DirectIO bool

	// KeepCache keeps cached data across opens without a look at the source
	// (kernel_cache). By default data is kept as long as size and times of the
	// source are unchanged (auto_cache).
	KeepCache bool

	// NoAtime leaves access times of the source alone when it is read.
	NoAtime bool

	// RemoteLocks takes flock(2) and fcntl(2) locks on the source, too. By
	// default they exclude the mount's users among themselves.
	RemoteLocks bool

	// NFSExport keeps what the kernel has forgotten as file handles, some 600
	// bytes each, so that the mount's own file handles (name_to_handle_at(2),
	// NFS) stay valid as long as the daemon runs. Where file handles of the
	// source cannot be opened it costs a descriptor each.
	NFSExport bool

	// MaxNodeFDs bounds the descriptors that cached inodes may hold. Zero
	// derives it from RLIMIT_NOFILE at New.
	MaxNodeFDs int
}

// Stats are counters and gauges of a [Tree].
type Stats struct {
	Nodes     int64 // inodes the kernel knows
	NodeFDs   int64 // O_PATH descriptors held for them
	OpenFiles int64 // open files and directories
	Demotions int64 // inodes that gave their descriptor up for a file handle
	Prunes    int64 // inodes the kernel was asked to forget
}

// Tree serves one backing directory. Make it with [New].
type Tree struct {
	opts Options
	io   IO
	log  *logrus.Entry
	id   identity
	root *node

	// slow backings may block even where everything is cached, so that every
	// call to them goes through IO.Block.
	slow bool
	// procFD is /proc/self/fd, for calls that do not take O_PATH descriptors.
	procFD int

	fds       fdBudget
	lockWaits lockWaits
	notices   notices
	watched   watched

	// background are goroutines that Close waits for.
	background sync.WaitGroup

	nextSerial atomic.Uint64
	openFiles  atomic.Int64

	// mu guards nodes, the lookups field of every node and devs. It is never
	// held across a system call that can block.
	mu    sync.Mutex
	nodes map[inodeKey]*node
	devs  map[uint64]*device
}

// New opens source, which must be a directory, and returns its tree. It keeps
// source open, so that the tree stays valid when something is mounted on it.
// The caller must Close it when no request is running any more.
func New(source string, opts Options) (*Tree, error) {
	if opts.IO == nil {
		return nil, fmt.Errorf("serve %q: no IO given", source)
	}
	fd, err := unix.Open(source, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open backing directory %q: %w", source, err)
	}
	procFD, err := unix.Open("/proc/self/fd", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open /proc/self/fd (is /proc mounted?): %w", err)
	}
	t := &Tree{
		opts:   opts,
		io:     opts.IO,
		log:    opts.Log,
		id:     ownIdentity(),
		procFD: procFD,
		nodes:  make(map[inodeKey]*node),
		devs:   make(map[uint64]*device),
	}
	t.fds.init(opts.MaxNodeFDs)
	if err := t.initRoot(fd); err != nil {
		unix.Close(fd)
		unix.Close(procFD)
		return nil, fmt.Errorf("inspect backing directory %q: %w", source, err)
	}
	t.notices.start()
	t.startWatch()
	return t, nil
}

func (t *Tree) initRoot(fd int) error {
	var st unix.Statx_t
	if errno := statxFd(fd, statxMask, &st); errno != 0 {
		return errno
	}
	var sfs unix.Statfs_t
	if err := unix.Fstatfs(fd, &sfs); err != nil {
		return err
	}
	t.slow = slowBacking(int64(sfs.Type))
	t.root = &node{tree: t, key: keyOf(&st), serial: t.nextSerial.Add(1)}
	t.root.ref.init(fd)
	t.fds.held.Add(1)
	t.addDevice(t.root.key.dev, fd)
	return nil
}

// slowBacking tells from a filesystem's magic number (statfs(2)) whether its
// calls may wait for a server even when everything is cached.
func slowBacking(magic int64) bool {
	switch uint32(magic) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC,
		unix.TMPFS_MAGIC, unix.F2FS_SUPER_MAGIC, unix.RAMFS_MAGIC,
		unix.OVERLAYFS_SUPER_MAGIC, unix.EROFS_SUPER_MAGIC_V1,
		unix.SQUASHFS_MAGIC, unix.ISOFS_SUPER_MAGIC, unix.MSDOS_SUPER_MAGIC:
		return false
	}
	return true
}

// Root returns the root node for fusefs.NewNodeFS. Prefer [Tree.RawFileSystem],
// which the capabilities of [Tree.FuseOptions] need.
func (t *Tree) Root() fusefs.InodeEmbedder { return t.root }

// FuseOptions returns what the tree needs of go-fuse and of the kernel. The
// caller may add to them (name, max_write, mount flags) but not take away.
func (t *Tree) FuseOptions() fusefs.Options {
	o := fusefs.Options{
		NullPermissions: true,
		RootStableAttr:  &fusefs.StableAttr{Ino: t.root.key.ino, Gen: t.root.serial},
		EntryTimeout:    &t.opts.EntryTimeout,
		AttrTimeout:     &t.opts.AttrTimeout,
	}
	if t.opts.NegativeTimeout > 0 {
		o.NegativeTimeout = &t.opts.NegativeTimeout
	}
	// With KeepCache the kernel does not look at changed times either.
	o.MountOptions.ExplicitDataCacheControl = t.opts.KeepCache
	o.MountOptions.EnableLocks = t.opts.RemoteLocks
	o.MountOptions.DisableXAttrs = t.opts.NoXattr
	o.MountOptions.EnableAcl = t.opts.ACL && !t.opts.NoXattr
	// A symlink's target never changes as long as its inode lives.
	o.MountOptions.EnableSymlinkCaching = true
	// Copying beats splicing for small reads and loses nothing on large ones.
	o.MountOptions.DisableSplice = true
	o.MountOptions.ExtraCapabilities = capabilities
	if t.opts.WritebackCache {
		o.MountOptions.ExtraCapabilities |= fuse.CAP_WRITEBACK_CACHE
	}
	if t.opts.Passthrough {
		o.MountOptions.MaxStackDepth = 1
	} else {
		// It would bypass the IO, and offering it costs stacking depth that
		// overlayfs on the mount needs.
		o.MountOptions.DisabledCapabilities = fuse.CAP_PASSTHROUGH
	}
	if t.opts.watches(t.slow) {
		o.MountOptions.DisabledCapabilities |= fuse.CAP_AUTO_INVAL_DATA
	}
	return o
}

// capabilities are the INIT flags the tree implements beyond go-fuse's own.
const capabilities = 0 |
	// O_TRUNC comes with OPEN, which saves a SETATTR.
	fuse.CAP_ATOMIC_O_TRUNC |
	// The daemon clears set-id bits and file capabilities on write, truncate
	// and chown. The kernel then need not ask for security.capability before
	// every write.
	fuse.CAP_HANDLE_KILLPRIV_V2 |
	// The daemon applies the umask, unless a default ACL replaces it.
	fuse.CAP_DONT_MASK |
	// READDIRPLUS only where the reader looks at attributes.
	fuse.CAP_READDIRPLUS_AUTO |
	// chattr and lsattr on directories.
	fuse.CAP_IOCTL_DIR |
	// O_DIRECT requests of one caller run side by side.
	fuse.CAP_ASYNC_DIO |
	// Shared mappings of files opened with O_DIRECT.
	fuse.CAP_DIRECT_IO_ALLOW_MMAP |
	// File handles (name_to_handle_at, NFS) outlive the dentry cache.
	fuse.CAP_EXPORT_SUPPORT

// RawFileSystem returns the tree behind go-fuse's node API, ready for
// fuse.NewServer or fuse.NewProtocolServer. opts are those of FuseOptions,
// with the caller's additions.
func (t *Tree) RawFileSystem(opts *fusefs.Options) fuse.RawFileSystem {
	r := &rawBridge{RawFileSystem: fusefs.NewNodeFS(t.root, opts), tree: t}
	if t.opts.NFSExport {
		r.kept = &keptLookups{count: make(map[uint64]uint64)}
	}
	return r
}

// Stats returns a snapshot, safe at any time.
func (t *Tree) Stats() Stats {
	t.mu.Lock()
	nodes := int64(len(t.nodes))
	t.mu.Unlock()
	return Stats{
		Nodes:     nodes,
		NodeFDs:   t.fds.held.Load(),
		OpenFiles: t.openFiles.Load(),
		Demotions: t.fds.demotions.Load(),
		Prunes:    t.fds.prunes.Load(),
	}
}

// Close closes every descriptor the nodes hold. Call it after the server has
// ended: no request may be running or come later.
func (t *Tree) Close() error {
	t.stopWatch()
	t.background.Wait()
	t.notices.close()
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, n := range t.nodes {
		delete(t.nodes, key)
		n.locks.close()
		t.dropRef(n)
	}
	for dev, d := range t.devs {
		delete(t.devs, dev)
		if d.mountFD >= 0 {
			unix.Close(d.mountFD)
		}
	}
	t.dropRef(t.root)
	return unix.Close(t.procFD)
}

// block runs fn where it may wait for the backing.
func (t *Tree) block(fn func() syscall.Errno) (errno syscall.Errno) {
	t.io.Block(func() { errno = fn() })
	return errno
}
