#!/usr/bin/env bats
# Every byte stays what was written, whatever way files are used and whatever
# mode the mount is in: test/filecheck on the mount, compared with the source.
# FILECHECK_STEPS makes it longer.

load helpers

# checked [ARGUMENT...] runs filecheck on the mount. Where the kernel drops pages
# of files that are being written (docs/CONFORMANCE.md), -apart is called for.
checked() { "$BIN/filecheck" -source "$source" -ops "${FILECHECK_STEPS:-1500}" "$@" "$mnt"; }

@test "as it is" {
	mount_fs
	checked -apart
}

@test "writeback_cache" {
	mount_fs writeback_cache
	checked
}

@test "direct_io" {
	mount_fs direct_io
	checked -apart
}

@test "kernel_cache" {
	mount_fs kernel_cache
	checked
}

@test "without caches of names and attributes" {
	mount_fs attr_timeout=0 entry_timeout=0
	checked -apart
}

@test "backing_uncached" {
	mount_fs backing_uncached
	checked -apart
}

@test "backing_direct" {
	mount_fs backing_direct
	checked -apart
}

@test "engine=sync" {
	[ "${URINGFS_TRANSPORT:-}" != uring ] || skip "that transport lives on rings"
	expect_no_io # none by the reactor
	mount_fs engine=sync
	checked -apart
}

@test "a plain directory: the checker finds nothing there" {
	"$BIN/filecheck" -align 4096 "$plain"
}
