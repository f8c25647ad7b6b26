package mount

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

const (
	// Subtype is the default filesystem type, shown as fuse.uringfs.
	Subtype = "uringfs"

	// DefaultMaxWrite is the largest request in bytes: what the kernel's
	// default fs.fuse.max_pages_limit (256 pages) lets through.
	DefaultMaxWrite = 1 << 20
	// MinMaxWrite is the least max_write in bytes, one page.
	MinMaxWrite = 4096
	// MaxMaxWrite is the largest max_write and max_read in bytes: what the
	// kernel's fs.fuse.max_pages_limit can be raised to.
	MaxMaxWrite = math.MaxUint16 * 4096
	// MinMaxWriteUring is the least max_write in bytes with which the kernel
	// may be offered FUSE-over-io_uring. Linux 6.18 hits a BUG() when a
	// request (an xattr of 64 KiB, say) does not fit a ring's payload.
	MinMaxWriteUring = 128 << 10

	// maxFSName is in bytes; mount(2) takes a path there.
	maxFSName = unix.PathMax - 1

	// maxUringDepth is what the kernel's accounting of background requests
	// could ever fill.
	maxUringDepth = math.MaxUint16

	// DefaultMaxBackground is how many readahead, writeback and asynchronous
	// direct requests may be in flight. The kernel's own default of 12
	// starves the reactor.
	DefaultMaxBackground = 256
	// MinMaxBackground is the least value accepted.
	MinMaxBackground = 1
)

// Options says how the tree is mounted. The zero value is a read-write, nosuid,
// nodev mount for the calling user alone.
type Options struct {
	// Source is the backing directory. It is checked against the mountpoint;
	// empty skips these checks, for trees that have no backing directory.
	Source string

	// FSName is the first column of df and /proc/mounts. Empty: Source.
	FSName string
	// Subtype makes the type fuse.SUBTYPE. Empty: "uringfs".
	Subtype string

	// AllowOther admits users other than the one who mounts. It always brings
	// DefaultPermissions along: without it the kernel would not check
	// permissions on cached entries.
	AllowOther bool
	// DefaultPermissions lets the kernel check modes (and ACLs).
	DefaultPermissions bool

	// Suid and Dev honour setuid bits and device files. Both take root.
	Suid, Dev bool
	// Flags are further MS_* flags of mount(2): MS_RDONLY, MS_NOEXEC,
	// MS_NOATIME and the like. MS_NOSUID and MS_NODEV follow Suid and Dev.
	Flags uintptr

	// MaxWrite is the largest read or write request in bytes. 0: 1 MiB. The
	// kernel's fs.fuse.max_pages_limit caps it.
	MaxWrite int
	// MaxRead is the largest read request in bytes. 0: MaxWrite.
	MaxRead int
	// MaxReadAhead is the kernel's readahead in bytes. 0: the kernel's
	// default, which is also the cap.
	MaxReadAhead int
	// MaxBackground bounds asynchronous requests in flight. 0: 256.
	MaxBackground int
	// CongestionThreshold is the number of asynchronous requests at which the
	// kernel calls the mount congested. 0: three quarters of MaxBackground.
	CongestionThreshold int
	// MaxInflightBytes bounds the memory of requests in flight. 0: no bound.
	MaxInflightBytes int

	// ReadDirPlus says when READDIRPLUS is used. Empty: ReadDirPlusAuto.
	ReadDirPlus ReadDirPlus

	// NonEmpty permits a mountpoint that has entries, which the mount hides.
	NonEmpty bool
	// Recover takes a stale mount of the same type off the mountpoint first.
	Recover bool
	// AutoUnmount has fusermount3 take the mount off when this process dies,
	// however it dies. It needs fusermount3, also for root.
	AutoUnmount bool

	// Transport chooses how requests travel. Empty: TransportAuto.
	Transport Transport

	// UringDepth bounds the requests that the queue of each CPU holds with
	// FUSE-over-io_uring. 0: 1024.
	UringDepth int
	// UringMemory bounds the buffers of all queues, in bytes, at the expense
	// of their depth. Buffers take memory once used. 0: a quarter of the
	// machine's.
	UringMemory int
	// Workers bounds the kernel threads that the queues of FUSE-over-io_uring
	// share for reads and writes on a backing that blocks. 0:
	// reactor.DefaultWorkers.
	Workers int

	// DebugRequests logs every FUSE request at level debug.
	DebugRequests bool
	// Log receives mount events. nil: nothing is logged.
	Log *logrus.Entry
}

// ReadDirPlus says when the kernel asks for attributes along with names.
type ReadDirPlus string

const (
	// ReadDirPlusAuto: where the reader of a directory looks at attributes.
	ReadDirPlusAuto ReadDirPlus = "auto"
	// ReadDirPlusOn: always.
	ReadDirPlusOn ReadDirPlus = "on"
	// ReadDirPlusOff: never.
	ReadDirPlusOff ReadDirPlus = "off"
)

// Stages bounds the three steps of an unmount.
type Stages struct {
	// Drain is how long a busy mount may be waited for before it is taken
	// out of the tree lazily. 0: DefaultDrain; negative: not at all.
	Drain time.Duration
	// Lazy is how long, after that, open files may still be used before the
	// connection is aborted. 0: DefaultLazy; negative: not at all.
	Lazy time.Duration
	// Hurry ends the present stage early each time it is received from.
	Hurry <-chan struct{}
}

const (
	// DefaultDrain is the default of Stages.Drain.
	DefaultDrain = 5 * time.Second
	// DefaultLazy is the default of Stages.Lazy.
	DefaultLazy = 10 * time.Second
)

// complete fills defaults in and refuses what cannot be.
func (o *Options) complete() error {
	if o.Subtype == "" {
		o.Subtype = Subtype
	}
	if o.FSName == "" {
		o.FSName = o.Source
	}
	if o.FSName == "" {
		o.FSName = o.Subtype
	}
	if o.AllowOther {
		o.DefaultPermissions = true
	}
	if o.MaxWrite == 0 {
		o.MaxWrite = DefaultMaxWrite
	}
	if o.MaxRead == 0 {
		o.MaxRead = o.MaxWrite
	}
	if o.MaxBackground == 0 {
		o.MaxBackground = DefaultMaxBackground
	}
	if o.Transport == "" {
		o.Transport = TransportAuto
	}
	if o.Log == nil {
		o.Log = discard()
	}
	return o.validate()
}

func (o *Options) validate() error {
	bad := func(hint, format string, args ...any) error {
		return &Error{kind: ErrOption, msg: fmt.Sprintf(format, args...), hint: hint}
	}
	switch {
	case o.MaxWrite > MaxMaxWrite:
		return bad("leave max_write out for 1M", "max_write=%d is above the kernel's most, %d bytes", o.MaxWrite, MaxMaxWrite)
	case o.MaxRead > MaxMaxWrite:
		return bad("leave max_read out for the value of max_write", "max_read=%d is above the kernel's most, %d bytes", o.MaxRead, MaxMaxWrite)
	case o.MaxWrite < MinMaxWrite:
		return bad("leave max_write out for 1M", "max_write=%d is below the page size of %d bytes", o.MaxWrite, MinMaxWrite)
	case o.MaxRead < MinMaxWrite:
		return bad("leave max_read out for the value of max_write", "max_read=%d is below the page size of %d bytes", o.MaxRead, MinMaxWrite)
	case o.MaxBackground < MinMaxBackground || o.MaxBackground > math.MaxUint16:
		return bad("leave max_background out for 256", "max_background=%d is not between %d and %d", o.MaxBackground, MinMaxBackground, math.MaxUint16)
	case o.CongestionThreshold < 0 || o.CongestionThreshold > o.MaxBackground:
		return bad("leave congestion_threshold out for three quarters of that", "congestion_threshold=%d is above max_background=%d", o.CongestionThreshold, o.MaxBackground)
	case o.UringDepth < 0 || o.UringDepth > maxUringDepth:
		return bad("leave uring_depth out for 1024", "uring_depth=%d is not between 1 and %d", o.UringDepth, maxUringDepth)
	case o.MaxReadAhead < 0:
		return bad("leave max_readahead out for the kernel's choice", "max_readahead=%d is negative", o.MaxReadAhead)
	case strings.ContainsAny(o.Subtype, ",/\n\\") || strings.ContainsAny(o.FSName, "\n"):
		return bad("use letters and digits", "subtype=%q or fsname=%q has a character that /proc/mounts cannot show", o.Subtype, o.FSName)
	case len(o.FSName) > maxFSName:
		return bad("shorten it", "fsname is longer than %d bytes", maxFSName)
	case o.Transport == TransportUring && o.MaxWrite < MinMaxWriteUring:
		return bad("leave max_write out, or use transport=dev",
			"transport=uring needs max_write of at least %d bytes, not %d: smaller buffers crash the kernel on large xattrs", MinMaxWriteUring, o.MaxWrite)
	}
	return o.Transport.validate()
}

// flags are the MS_* bits for mount(2).
func (o *Options) flags() uintptr {
	flags := o.Flags &^ (unix.MS_NOSUID | unix.MS_NODEV)
	if !o.Suid {
		flags |= unix.MS_NOSUID
	}
	if !o.Dev {
		flags |= unix.MS_NODEV
	}
	return flags
}

// SetFlags is the reverse of flags: it sets Suid, Dev and Flags.
func (o *Options) SetFlags(flags uintptr) {
	o.Suid, o.Dev = flags&unix.MS_NOSUID == 0, flags&unix.MS_NODEV == 0
	o.Flags = flags &^ (unix.MS_NOSUID | unix.MS_NODEV)
}

// flagWords are the names fusermount3 has for MS_* bits. Unset bits need no
// word, except that fusermount3 defaults to nosuid and nodev, like us. The flags
// about access times are left out: they mean nothing on a FUSE mount, and
// fusermount3 of libfuse 3.14 refuses them.
var flagWords = []struct {
	bit  uintptr
	word string
}{
	{unix.MS_RDONLY, "ro"},
	{unix.MS_NOEXEC, "noexec"},
	{unix.MS_SYNCHRONOUS, "sync"},
	{unix.MS_NOATIME, "noatime"},
	{unix.MS_DIRSYNC, "dirsync"},
	{unix.MS_NOSYMFOLLOW, "nosymfollow"},
}

// shared are the options that the kernel's FUSE itself reads, whichever way
// the mount is made.
func (o *Options) shared() []string {
	words := []string{fmt.Sprintf("max_read=%d", o.MaxRead)}
	if o.AllowOther {
		words = append(words, "allow_other")
	}
	if o.DefaultPermissions {
		words = append(words, "default_permissions")
	}
	return words
}

// fusermountWords are the -o words for fusermount3.
func (o *Options) fusermountWords() []string {
	words := append(o.shared(), "fsname="+o.FSName, "subtype="+o.Subtype)
	for _, f := range flagWords {
		if o.Flags&f.bit != 0 {
			words = append(words, f.word)
		}
	}
	if o.Suid {
		words = append(words, "suid")
	}
	if o.Dev {
		words = append(words, "dev")
	}
	if o.AutoUnmount {
		words = append(words, "auto_unmount")
	}
	return words
}
