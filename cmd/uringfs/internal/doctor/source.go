package doctor

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

// examineSource looks at what the directory's filesystem can do. It tries on
// O_TMPFILE files, which never have a name.
func examineSource(source string) []Finding {
	fd, err := unix.Open(source, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return []Finding{finding("source", Fail, "name a directory that exists and that this user may read", "%s: %v", source, err)}
	}
	defer unix.Close(fd)
	findings := []Finding{backingClass(fd), fileHandles(fd)}
	if f, known := fuseBackground(fd); known {
		findings = append(findings, f)
	}
	tmp, err := unix.Open(source, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return append(findings, finding("trial_file", Note, "run doctor as a user who may write there",
			"no trial file can be made in %s (%v): the rest is unknown", source, err))
	}
	defer unix.Close(tmp)
	page := make([]byte, os.Getpagesize())
	if _, err := unix.Pwrite(tmp, page, 0); err != nil {
		return append(findings, finding("trial_file", Warn, "see whether the filesystem is full", "write: %v", err))
	}
	return append(findings, cachedRead(tmp, page), cachedWrite(tmp, page), directIO(tmp),
		uncached(tmp, page), reflink(source, tmp), userXattr(tmp))
}

// filesystems are the names of statfs(2)'s magic numbers that users meet.
var filesystems = map[uint32]string{
	unix.EXT4_SUPER_MAGIC:      "ext4",
	unix.XFS_SUPER_MAGIC:       "xfs",
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.TMPFS_MAGIC:           "tmpfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	unix.NFS_SUPER_MAGIC:       "nfs",
	unix.CIFS_SUPER_MAGIC:      "cifs",
	unix.SMB2_SUPER_MAGIC:      "smb3",
	unix.FUSE_SUPER_MAGIC:      "fuse",
	unix.V9FS_MAGIC:            "9p",
	unix.CEPH_SUPER_MAGIC:      "ceph",
	unix.PROC_SUPER_MAGIC:      "proc",
}

func backingClass(fd int) Finding {
	var s unix.Statfs_t
	if err := unix.Fstatfs(fd, &s); err != nil {
		return finding("backing", Fail, "see whether the filesystem answers: stat -f", "statfs: %v", err)
	}
	kind, known := filesystems[uint32(s.Type)]
	if !known {
		kind = fmt.Sprintf("filesystem type %#x", uint32(s.Type))
	}
	if reactor.ClassOf(fd) == reactor.ClassBlocking {
		return finding("backing", Note, "consider -o io_timeout=30 and the number of -o workers", "%s; its I/O can block, so worker threads carry it", kind)
	}
	return ok("backing", "%s; served inline", kind)
}

// fewBackground is less than the readers of a busy mount may be.
const fewBackground = 64

// fuseBackground tells how many direct reads and writes from io_uring a source that
// is a FUSE filesystem takes at once, where this user may know.
func fuseBackground(fd int) (f Finding, known bool) {
	var fs unix.Statfs_t
	var st unix.Stat_t
	if unix.Fstatfs(fd, &fs) != nil || fs.Type != unix.FUSE_SUPER_MAGIC || unix.Fstat(fd, &st) != nil {
		return f, false
	}
	path := fmt.Sprintf("/sys/fs/fuse/connections/%d/max_background", unix.Minor(st.Dev))
	text, err := os.ReadFile(path)
	if err != nil {
		return f, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return f, false
	}
	if n < fewBackground {
		return finding("backing_background", Note, "echo 256 >"+path,
			"if this FUSE filesystem bypasses the page cache (direct_io) it takes no more than %d reads and writes at once from io_uring", n), true
	}
	return ok("backing_background", "this FUSE filesystem takes up to %d reads and writes at once that bypass the page cache", n), true
}

func fileHandles(fd int) Finding {
	if _, _, err := unix.NameToHandleAt(fd, "", unix.AT_EMPTY_PATH); err != nil {
		return finding("file_handles", Note, "raise the limit of open files if SOURCE has many", "no (%v): cached inodes keep a descriptor each", err)
	}
	return ok("file_handles", "cached inodes can do without descriptors, given CAP_DAC_READ_SEARCH")
}

// cachedRead and cachedWrite ask whether I/O on the page cache can be done
// without blocking, which is what lets io_uring do it inline.
func cachedRead(fd int, p []byte) Finding {
	if err := preadv2(fd, p, unix.RWF_NOWAIT); err != nil {
		return finding("cached_reads", Note, "ext4, XFS and btrfs read inline", "go through a kernel thread (RWF_NOWAIT: %v)", err)
	}
	return ok("cached_reads", "inline")
}

func cachedWrite(fd int, p []byte) Finding {
	if err := pwritev2(fd, p, unix.RWF_NOWAIT); err != nil {
		return finding("cached_writes", Note, "XFS and btrfs write inline", "go through a kernel thread (RWF_NOWAIT: %v)", err)
	}
	return ok("cached_writes", "inline")
}

func directIO(fd int) Finding {
	const name = "o_direct"
	var st unix.Statx_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st); err != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return finding(name, Note, "leave backing_direct out", "the filesystem does not tell its alignment; backing_direct may fail on unaligned I/O")
	}
	if st.Dio_offset_align == 0 {
		return finding(name, Note, "leave backing_direct out", "not supported")
	}
	return ok(name, "aligned to %d bytes in the file and %d in memory", st.Dio_offset_align, st.Dio_mem_align)
}

// rwfDontcache is RWF_DONTCACHE, Linux 6.14.
const rwfDontcache = 0x80

func uncached(fd int, p []byte) Finding {
	if err := preadv2(fd, p, rwfDontcache); err != nil {
		return finding("rwf_dontcache", Note, "needs Linux 6.14 and ext4, XFS or btrfs", "uncached buffered I/O is not supported (%v)", err)
	}
	return ok("rwf_dontcache", "uncached buffered I/O is supported")
}

func reflink(source string, from int) Finding {
	to, err := unix.Open(source, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return finding("reflink", Note, "see whether the filesystem is full", "unknown: %v", err)
	}
	defer unix.Close(to)
	if err := unix.IoctlFileClone(to, from); err != nil {
		return finding("reflink", Note, "XFS and btrfs share blocks", "copies are made byte by byte (%v)", err)
	}
	return ok("reflink", "copies can share their blocks")
}

func userXattr(fd int) Finding {
	if err := unix.Fsetxattr(fd, "user.uringfs", []byte{1}, 0); err != nil {
		if errors.Is(err, unix.ENOTSUP) {
			return finding("xattr", Note, "tmpfs has them since Linux 6.6", "no extended attributes of users")
		}
		return finding("xattr", Note, "see whether the filesystem is full", "%v", err)
	}
	return ok("xattr", "extended attributes of users")
}

// preadv2 reads at offset 0 with flags. x/sys has no wrapper for plain flags.
func preadv2(fd int, p []byte, flags uintptr) error {
	return vectored2(unix.SYS_PREADV2, fd, p, flags)
}

func pwritev2(fd int, p []byte, flags uintptr) error {
	return vectored2(unix.SYS_PWRITEV2, fd, p, flags)
}

func vectored2(call uintptr, fd int, p []byte, flags uintptr) error {
	iov := unix.Iovec{Base: &p[0]}
	iov.SetLen(len(p))
	_, _, errno := unix.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, 0, 0, flags)
	if errno != 0 {
		return errno
	}
	return nil
}
