#!/usr/bin/env bats
# uringfs doctor: findings, remedies, exit status, JSON.

load helpers

@test "this host is fit, and each finding that is not ok has a remedy or a reason" {
	expect_no_io
	run -0 "$URINGFS" doctor "$source"
	[[ $output == *"io_uring"* && $output == *"backing"* ]]
	"$URINGFS" doctor --json "$source" | jq -e '.fit and (.findings | length > 10) and all(.findings[]; .name and .state and .says)'
	[ -z "$(ls -A "$source")" ]
}

@test "a source that is a FUSE filesystem says how much it takes at once" {
	expect_no_io
	mount_fs max_background=12
	run -0 "$URINGFS" doctor "$mnt"
	[[ $output == *"backing_background"*"12 reads"*"echo 256 >/sys/fs/fuse/connections/"* ]]
	"$URINGFS" umount "$mnt"
	mount_fs max_background=100
	run -0 "$URINGFS" doctor "$mnt"
	[[ $output == *"ok"*"backing_background"*"up to 100"* ]]
}

@test "a missing source is a failure" {
	expect_no_io
	run -30 "$URINGFS" doctor "$top/missing"
	[[ $output == *"fail"*"source"* ]]
}

@test "a host that forbids io_uring, as Docker's seccomp profile does, is told so with a remedy" {
	expect_no_io
	command -v strace >/dev/null || skip "no strace to make io_uring_setup fail"
	run -30 denied "$URINGFS" doctor
	[[ $output == *"fail"*"io_uring"*"seccomp"* ]]
	run --separate-stderr denied "$URINGFS" -f "$source" "$mnt"
	[ "$status" -eq 15 ]
	# shellcheck disable=SC2154 # set by run
	[[ $stderr == *"uringfs: "*"hint: "*"seccomp"* ]]
	[[ $stderr == *"engine=sync"* ]]
	fails is_mounted
}

@test "engine=sync serves a host that forbids io_uring" {
	expect_no_io # none by the reactor
	command -v strace >/dev/null || skip "no strace to make io_uring_setup fail"
	denied "$URINGFS" -f -o engine=sync "$source" "$mnt" 2>"$log" 3>&- &
	await_daemon
	seq 100000 >"$mnt/f"
	cmp "$mnt/f" "$source/f"
	[ "$(stats_of "$mnt" sync.bytes_written)" -eq "$(stat -c %s "$source/f")" ]
}

# denied COMMAND... runs it where io_uring_setup(2) gives EPERM.
denied() { timeout 300 strace -f -o /dev/null -e trace=io_uring_setup -e inject=io_uring_setup:error=EPERM "$@"; }
