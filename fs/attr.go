package fs

import (
	"context"
	"syscall"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

// setIDBits are what a write by somebody without CAP_FSETID may clear.
const setIDBits = syscall.S_ISUID | syscall.S_ISGID

// fillAttr turns what the backing says into what the kernel is told. Seconds
// are signed on both ends (dates before 1970), whatever the field's type.
func (n *node) fillAttr(a *fuse.Attr, st *unix.Statx_t) {
	a.Ino = n.StableAttr().Ino
	a.Size = st.Size
	a.Blocks = st.Blocks
	a.Atime, a.Atimensec = uint64(st.Atime.Sec), st.Atime.Nsec
	a.Mtime, a.Mtimensec = uint64(st.Mtime.Sec), st.Mtime.Nsec
	a.Ctime, a.Ctimensec = uint64(st.Ctime.Sec), st.Ctime.Nsec
	a.Mode = uint32(st.Mode)
	a.Nlink = st.Nlink
	a.Uid = st.Uid
	a.Gid = st.Gid
	a.Rdev = uint32(unix.Mkdev(st.Rdev_major, st.Rdev_minor))
	a.Blksize = st.Blksize
	n.sawMode(st.Mode)
}

func (n *node) sawMode(mode uint16) {
	setID := mode&syscall.S_IFMT == syscall.S_IFREG && mode&setIDBits != 0
	if n.setID.Load() != setID {
		n.setID.Store(setID)
	}
}

// stat reads the attributes of the inode behind fd, where it may block if the
// backing is slow.
func (t *Tree) stat(fd, mask int, st *unix.Statx_t) syscall.Errno {
	if !t.slow {
		return statxFd(fd, mask, st)
	}
	return t.statSlow(fd, mask, st)
}

// statSlow is apart from stat so that st does not escape there.
func (t *Tree) statSlow(fd, mask int, st *unix.Statx_t) syscall.Errno {
	var got unix.Statx_t
	errno := t.block(func() syscall.Errno { return statxFd(fd, mask, &got) })
	*st = got
	return errno
}

var _ = (fusefs.NodeGetattrer)((*node)(nil))

func (n *node) Getattr(ctx context.Context, f fusefs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	p, errno := n.pin()
	if errno != 0 {
		return errno
	}
	errno = n.getattr(p.fd, &out.Attr)
	p.release()
	return errno
}

func (n *node) getattr(fd int, a *fuse.Attr) syscall.Errno {
	var st unix.Statx_t
	if errno := n.tree.stat(fd, unix.STATX_BASIC_STATS, &st); errno != 0 {
		return errno
	}
	n.fillAttr(a, &st)
	return 0
}

var _ = (fusefs.NodeStatxer)((*node)(nil))

func (n *node) Statx(ctx context.Context, f fusefs.FileHandle, flags, mask uint32, out *fuse.StatxOut) syscall.Errno {
	p, errno := n.pin()
	if errno != 0 {
		return errno
	}
	defer p.release()
	var st unix.Statx_t
	if errno := n.tree.stat(p.fd, int(mask)|unix.STATX_BASIC_STATS, &st); errno != 0 {
		return errno
	}
	n.sawMode(st.Mode)
	out.FromStatx(&st)
	out.Ino = n.StableAttr().Ino
	return 0
}

var _ = (fusefs.NodeSetattrer)((*node)(nil))

func (n *node) Setattr(ctx context.Context, f fusefs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	p, errno := n.pin()
	if errno != 0 {
		return errno
	}
	defer p.release()
	c := callerOf(ctx)
	h, _ := f.(*handle)
	if in.Valid&(fuse.FATTR_SIZE|fuse.FATTR_MTIME) != 0 {
		defer reactor.Finally(n.change(unknownSize))
	}
	errno = n.tree.block(func() syscall.Errno { return n.setattr(c, p.fd, h, in) })
	if errno != 0 {
		return errno
	}
	return n.getattr(p.fd, &out.Attr)
}

// setattr applies in to the inode behind fd, in the order in which one change
// does not undo another.
func (n *node) setattr(c caller, fd int, h *handle, in *fuse.SetAttrIn) syscall.Errno {
	valid := in.Valid &^ (fuse.FATTR_FH | fuse.FATTR_LOCKOWNER | fuse.FATTR_CTIME)
	if valid&^fuse.FATTR_KILL_SUIDGID == 0 {
		return n.touch(c, fd)
	}
	if valid&(fuse.FATTR_UID|fuse.FATTR_GID) != 0 {
		if errno := n.chown(c, fd, in); errno != 0 {
			return errno
		}
	}
	if mode, ok := in.GetMode(); ok {
		if errno := n.chmod(fd, mode); errno != 0 {
			return errno
		}
	}
	if size, ok := in.GetSize(); ok {
		truncate := func() syscall.Errno { return n.truncate(fd, h, int64(size)) }
		if errno := n.changeAs(c, fd, in.Valid&fuse.FATTR_KILL_SUIDGID != 0, truncate); errno != 0 {
			return errno
		}
	}
	if valid&(fuse.FATTR_ATIME|fuse.FATTR_MTIME) != 0 {
		return n.setTimes(fd, in)
	}
	return 0
}

// chown changes the owner. The backing takes set-id bits and capabilities from
// what is not a directory, except for one bit it leaves to the privileged.
func (n *node) chown(c caller, fd int, in *fuse.SetAttrIn) syscall.Errno {
	uid, gid := -1, -1
	if u, ok := in.GetUID(); ok {
		uid = int(int32(u))
	}
	if g, ok := in.GetGID(); ok {
		gid = int(int32(g))
	}
	// set-group-id without group execution survives only for those who belong
	// to the group or have CAP_FSETID (setattr_should_drop_sgid in Linux).
	if n.setID.Load() && c.uid != 0 {
		n.killPriv(c, fd)
	}
	return toErrno(unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH))
}

// touch answers a request that changes nothing. It comes from chown(-1, -1),
// and also before a write that takes set-id bits or capabilities away; the
// kernel makes no difference, but the second needs a writer.
func (n *node) touch(c caller, fd int) syscall.Errno {
	chown := func() syscall.Errno {
		return toErrno(unix.Fchownat(fd, "", -1, -1, unix.AT_EMPTY_PATH))
	}
	capsDropped := n.capsDropped.Swap(false)
	mayWrite := n.writers.Load() > 0
	if c.uid == 0 || !n.tree.id.switches {
		if capsDropped && mayWrite {
			return 0 // a write by root: capabilities went, set-id bits stay
		}
		return chown()
	}
	errno := n.tree.id.run(c, withGroups, chown)
	if errno == syscall.EPERM && mayWrite {
		// A write by somebody else than the owner, which will clear the bits;
		// but not if the kernel writes past us.
		if n.tree.opts.Passthrough {
			n.killPriv(c, fd)
		}
		return 0
	}
	return errno
}

func (n *node) chmod(fd int, mode uint32) syscall.Errno {
	// Set before the bits are there, so that no write misses them.
	if mode&setIDBits != 0 {
		n.sawMode(uint16(uint32(n.key.typ) | mode))
	}
	err := unix.Fchmodat(fd, "", mode, unix.AT_EMPTY_PATH) // fchmodat2, Linux 6.6
	if err == unix.ENOSYS || err == unix.EOPNOTSUPP && n.key.typ != syscall.S_IFLNK {
		err = unix.Fchmodat(n.tree.procFD, procName(fd), mode, 0)
	}
	return toErrno(err)
}

// truncate sets the size. truncate(2) leaves the times of a file alone that has
// the size already, where ftruncate(2) does not.
func (n *node) truncate(fd int, h *handle, size int64) syscall.Errno {
	for {
		var err error
		if h != nil && h.writable() {
			err = unix.Ftruncate(h.file.Fd(), size)
		} else {
			err = unix.Truncate(procPath(fd), size)
		}
		if err != syscall.EINTR {
			return toErrno(err)
		}
	}
}

func (n *node) setTimes(fd int, in *fuse.SetAttrIn) syscall.Errno {
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Nsec: unix.UTIME_OMIT}}
	switch {
	case in.Valid&fuse.FATTR_ATIME_NOW != 0:
		ts[0].Nsec = unix.UTIME_NOW
	case in.Valid&fuse.FATTR_ATIME != 0:
		ts[0] = unix.Timespec{Sec: int64(in.Atime), Nsec: int64(in.Atimensec)}
	}
	switch {
	case in.Valid&fuse.FATTR_MTIME_NOW != 0:
		ts[1].Nsec = unix.UTIME_NOW
	case in.Valid&fuse.FATTR_MTIME != 0:
		ts[1] = unix.Timespec{Sec: int64(in.Mtime), Nsec: int64(in.Mtimensec)}
	}
	err := unix.UtimesNanoAt(fd, "", ts, unix.AT_EMPTY_PATH) // Linux 5.8
	if err == unix.EINVAL || err == unix.ENOENT {
		err = unix.UtimesNanoAt(n.tree.procFD, procName(fd), ts, 0)
	}
	return toErrno(err)
}

// changeAs runs change. If kill says that the caller may not leave set-id bits
// and the file has some, it runs as the caller, for the backing to decide which
// go; or it clears them first, where the caller has rights we cannot see.
func (n *node) changeAs(c caller, fd int, kill bool, change func() syscall.Errno) syscall.Errno {
	if !kill || !n.setID.Load() {
		return change()
	}
	errno := n.tree.id.run(c, withGroups, change)
	if errno == syscall.EACCES || errno == syscall.EPERM {
		n.killPriv(c, fd)
		return change()
	}
	n.forgetMode()
	return errno
}

// forgetMode makes the kernel ask for the attributes again, because the request
// at hand changes the mode, which it does not look for: it would go on to run the
// file with set-id bits until the attributes time out.
func (n *node) forgetMode() { n.NotifyContent(-1, 0) }

// killPriv clears the set-id bits that c may not leave on a file it changes.
// fd is any descriptor of the file. The backing itself drops capabilities.
func (n *node) killPriv(c caller, fd int) {
	var st unix.Statx_t
	if statxFd(fd, unix.STATX_MODE|unix.STATX_GID|unix.STATX_TYPE, &st) != 0 {
		return
	}
	if mode := keptMode(c, uint32(st.Mode), st.Gid); mode != uint32(st.Mode) {
		n.chmod(fd, mode&07777)
		n.forgetMode()
	}
}

// keptMode is mode after a change by c, who has no CAP_FSETID, to a file of
// group gid (setattr_should_drop_suidgid in Linux).
func keptMode(c caller, mode, gid uint32) uint32 {
	if mode&syscall.S_IFMT != syscall.S_IFREG {
		return mode
	}
	mode &^= syscall.S_ISUID
	if mode&syscall.S_ISGID != 0 && (mode&syscall.S_IXGRP != 0 || !c.inGroup(gid)) {
		mode &^= syscall.S_ISGID
	}
	return mode
}
