#!/usr/bin/env bats
# What the daemon of root gives up once it is mounted.

load helpers

status_of() { awk -v k="$1:" '$1 == k {print $2}' "/proc/$daemon/status"; }

@test "by default the daemon of root is confined, on all threads, and serves" {
	mount_fs
	seq 1000 >"$mnt/f"
	chown 12345:54321 "$mnt/f"
	mknod "$mnt/pipe" p
	local task
	for task in /proc/"$daemon"/task/*; do
		cat "$task/status" >"$BATS_TEST_TMPDIR/status" 2>/dev/null || continue # it has ended
		grep -q 'NoNewPrivs:.1' "$BATS_TEST_TMPDIR/status"
		grep -q 'Seccomp:.2' "$BATS_TEST_TMPDIR/status"
	done
	# CAP_NET_ADMIN (12), CAP_SYS_MODULE (16) and CAP_SYS_BOOT (22) are gone.
	[ $((0x$(status_of CapEff) & (1 << 12 | 1 << 16 | 1 << 22))) -eq 0 ]
	[ $((0x$(status_of CapBnd) & (1 << 12 | 1 << 16 | 1 << 22))) -eq 0 ]
}

@test "a confined daemon cuts hung users off and ends" {
	expect_no_io
	mount_fs drain_timeout=0 lazy_timeout=0
	exec 8>"$mnt/held"
	kill -TERM "$daemon"
	await_exit "$daemon"
	exec 8>&-
	fails is_mounted
}

@test "confine=off gives nothing up" {
	expect_no_io
	mount_fs confine=off
	[ "$(status_of Seccomp)" -eq 0 ]
}

@test "a daemon that answers is confined: it is ready, with -f too" {
	expect_no_io
	command -v strace >/dev/null || skip "no strace to be slow with"
	# -D: the daemon is the child, and strace goes when it goes.
	strace -D -f -qq -o /dev/null -e trace=seccomp -e inject=seccomp:delay_enter=500000 "$URINGFS" -f "$source" "$mnt" 2>"$log" 3>&- &
	await_daemon
	[ "$(status_of Seccomp)" -eq 2 ]
}
