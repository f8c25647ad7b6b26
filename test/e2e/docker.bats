#!/usr/bin/env bats
# contrib/docker/seccomp.json lets through what the daemon does.

load helpers

@test "every system call of a working daemon is in the Docker profile" {
	command -v strace >/dev/null || skip "no strace"
	local calls=$BATS_TEST_TMPDIR/calls
	jq -r '.syscalls[] | select(.action == "SCMP_ACT_ALLOW") | .names[]' "$REPO/contrib/docker/seccomp.json" | sort -u >"$calls.allowed"
	grep -qx io_uring_setup "$calls.allowed"
	fails grep -qx kexec_load "$calls.allowed"
	strace -f -qq -o "$calls" "$URINGFS" -f "$source" "$mnt" 2>"$log" 3>&- &
	local strace=$!
	await_daemon
	seq 10000 >"$mnt/f"
	cp -a "$mnt/f" "$mnt/g"
	setfattr -n user.a -v b "$mnt/f"
	mkdir "$mnt/d"
	mv "$mnt/g" "$mnt/d/"
	ln "$mnt/f" "$mnt/h"
	ln -s f "$mnt/s"
	truncate -s 100 "$mnt/f"
	sync "$mnt/f"
	find "$mnt" -ls
	rm -r "$mnt/d"
	"$URINGFS" umount "$mnt"
	wait $strace # its file is whole
	sed -nE 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/p' "$calls" | sort -u >"$calls.used"
	[ "$(wc -l <"$calls.used")" -gt 20 ]
	[ -z "$(comm -23 "$calls.used" "$calls.allowed")" ] || {
		comm -23 "$calls.used" "$calls.allowed" >&2
		return 1
	}
}
