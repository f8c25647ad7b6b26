#!/usr/bin/env bats
# Ways out: umount, fusermount3 -u, uringfs umount, stale mounts, recover.

load helpers

@test "umount, fusermount3 -u and uringfs umount all end the daemon" {
	expect_no_io
	local how
	for how in umount "fusermount3 -u" "$URINGFS umount"; do
		mount_fs
		$how "$mnt"
		await_exit "$daemon"
		fails is_mounted
	done
}

@test "uringfs umount returns when the daemon is gone" {
	expect_no_io
	for _ in 1 2 3 4 5; do
		mount_fs
		"$URINGFS" umount "$mnt"
		# Dead, even if init has not buried it yet.
		fails grep -q '^State:.[^Z]' "/proc/$daemon/status"
	done
}

@test "a busy mount is refused and the holders are named" {
	seq 10 >"$source/f"
	mount_fs
	exec 8<"$mnt/f"
	run -21 --separate-stderr "$URINGFS" umount "$mnt"
	exec 8<&-
	# shellcheck disable=SC2154 # set by run
	[[ $stderr == *"busy"*"[$$]"*"$mnt/f"* ]]
	read -r < "$mnt/f"
}

@test "--lazy leaves open files usable" {
	seq 10 >"$source/f"
	mount_fs
	exec 8<"$mnt/f"
	"$URINGFS" umount --lazy "$mnt"
	fails is_mounted
	[ "$(cat <&8)" = "$(seq 10)" ]
	exec 8<&-
	await_exit "$daemon"
}

@test "--force cuts readers off" {
	seq 10 >"$source/f"
	mount_fs
	exec 8<"$mnt/f"
	"$URINGFS" umount --force "$mnt"
	fails is_mounted
	fails cat <&8
	exec 8<&-
	await_exit "$daemon"
}

# kill_daemon leaves a stale mountpoint behind.
kill_daemon() {
	kill -KILL "$daemon"
	await_exit "$daemon"
	await is_dead
}

@test "a mount whose daemon was killed is cleaned by umount" {
	expect_no_io
	mount_fs
	kill_daemon
	"$URINGFS" umount "$mnt"
	fails is_mounted
	stat "$mnt"
}

@test "a stale mountpoint is refused, and taken over with -o recover" {
	echo x >"$source/f"
	mount_fs
	kill_daemon
	run -12 --separate-stderr "$URINGFS" "$source" "$mnt"
	[[ $stderr == *stale*recover* ]]
	mount_fs recover
	[ "$(cat "$mnt/f")" = x ]
	# One mount and not two on top of each other.
	[ "$(grep -c " $mnt " /proc/mounts)" -eq 1 ]
}

@test "recover right after SIGKILL takes the dying mount off, and leaves no second one below" {
	echo x >"$source/f"
	mount_fs
	for _ in 1 2 3 4 5; do
		stat "$mnt" # attributes in the cache
		kill -KILL "$daemon"
		await_exit "$daemon" # its rings go later
		mount_fs recover
		[ "$(cat "$mnt/f")" = x ]
		[ "$(grep -c " $mnt " /proc/mounts)" -eq 1 ]
	done
}

@test "a mount that hangs on the mountpoint is told, and the command returns" {
	expect_no_io
	mount_fs attr_timeout=0,entry_timeout=0
	kill -STOP "$daemon"
	local f
	for f in "" -f -orecover; do
		run -11 --separate-stderr timeout 300 "$URINGFS" $f "$source" "$mnt"
		[[ ${stderr_lines[0]} == *"has a mount already: fuse.uringfs of"* && ${stderr_lines[1]} == "hint: "*"--force if it hangs"* ]]
	done
	run -11 --separate-stderr timeout 300 "$URINGFS" -o nonempty "$source" "$mnt"
	[[ ${stderr_lines[0]} == *"hangs" && ${stderr_lines[1]} == "hint: "*"umount --force"* ]]
	kill -CONT "$daemon"
}

@test "recover leaves a healthy mount and a foreign one alone" {
	expect_no_io
	echo x >"$source/f"
	mount_fs
	run -11 "$URINGFS" -o recover "$source" "$mnt"
	unmount
	mount_fs subtype=other
	kill_daemon
	run -12 --separate-stderr "$URINGFS" -o recover "$source" "$mnt"
	[[ $stderr == *"not one of ours"* ]]
	umount -l "$mnt"
}

@test "auto_unmount cleans up after SIGKILL" {
	expect_no_io
	if [ "${URINGFS_TRANSPORT:-}" = uring ]; then
		run -16 --separate-stderr "$URINGFS" -o transport=uring,auto_unmount "$source" "$mnt"
		# shellcheck disable=SC2154 # set by run
		[[ $stderr == *"before the rings are gone"*"hint: "* ]]
		return
	fi
	mount_fs auto_unmount
	kill -KILL "$daemon"
	await_exit "$daemon"
	# mountpoint(1) calls a dead mount none.
	# shellcheck disable=SC2317 # called by await
	gone() { ! grep -q " $mnt " /proc/mounts; }
	await gone
}

@test "umount of what is not ours is refused" {
	expect_no_io
	run -22 --separate-stderr "$URINGFS" umount "$mnt"
	[[ $stderr == *"not a mountpoint"* ]]
	run -22 --separate-stderr "$URINGFS" umount /proc
	[[ $stderr == *"type proc"* ]]
	mountpoint -q /proc
}

@test "several mountpoints at once, one of them wrong: the others are unmounted" {
	expect_no_io
	mount_fs
	run -22 "$URINGFS" umount "$top/missing" "$mnt"
	fails is_mounted
	await_exit "$daemon"
}
