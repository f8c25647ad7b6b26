package reactor

import (
	"golang.org/x/sys/unix"
)

// Class says how a backing filesystem takes I/O from a ring.
type Class uint8

const (
	// ClassAuto lets statfs(2) decide; see [ClassOf].
	ClassAuto Class = iota
	// ClassInline is a backing whose I/O completes inside io_uring_enter or
	// goes on without the caller: local filesystems, pipes, sockets.
	ClassInline
	// ClassBlocking is a backing on which io_uring_enter would block, for as
	// long as somebody else pleases: FUSE, network filesystems, and all we
	// do not know.
	ClassBlocking
)

func (c Class) String() string {
	switch c {
	case ClassInline:
		return "inline"
	case ClassBlocking:
		return "blocking"
	}
	return "auto"
}

// inlineTypes are the statfs types (linux/magic.h) whose I/O never waits for
// another machine or process.
var inlineTypes = map[uint32]bool{
	0xEF53:     true, // ext2, ext3, ext4
	0x58465342: true, // XFS
	0x9123683E: true, // btrfs
	0xF2F52010: true, // F2FS
	0xCA451A4E: true, // bcachefs
	0x2FC12FC1: true, // ZFS
	0x3153464A: true, // JFS
	tmpfsMagic: true,
	0x858458F6: true, // ramfs
	0x958458F6: true, // hugetlbfs
	0x794C7630: true, // overlayfs; its I/O is punted, not blocking
	0x73717368: true, // squashfs
	0xE0F5E1E2: true, // EROFS
	0x9660:     true, // ISO 9660
	0x4D44:     true, // FAT
	0x2011BAB0: true, // exFAT
	0x7366746E: true, // NTFS3
	0x50495045: true, // pipes
	0x534F434B: true, // sockets
	0x09041934: true, // anonymous inodes: eventfd and the like
}

const tmpfsMagic = 0x01021994

// ClassOf tells the class of an open descriptor by the filesystem it is on.
func ClassOf(fd int) Class {
	class, _ := classify(fd)
	return class
}

func classify(fd int) (class Class, magic uint32) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return ClassBlocking, 0
	}
	if inlineTypes[uint32(st.Type)] {
		return ClassInline, uint32(st.Type)
	}
	return ClassBlocking, uint32(st.Type)
}
