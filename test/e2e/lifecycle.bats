#!/usr/bin/env bats
# Readiness, signals, and mounts beside and on top of each other.

load helpers

# in_foreground [OPTION...] mounts with -f and leaves the standard error in $log.
in_foreground() {
	local options
	options=$(mount_options "$@")
	"$URINGFS" -f ${options:+-o "$options"} "$source" "$mnt" 2>"$log" 3>&- &
	await_daemon
}

# ends_with CODE PID waits for a child and fails unless it ends with that status.
ends_with() {
	local code=0
	wait "$2" || code=$?
	[ "$code" -eq "$1" ] || {
		echo "ended with status $code, not $1" >&2
		return 1
	}
}

@test "in the background the command returns when the mount is usable" {
	echo here >"$source/f"
	for _ in $(seq 10); do
		mount_fs
		[ "$(cat "$mnt/f")" = here ]
		assert_reactor_used
		unmount
	done
}

@test "the background daemon has no terminal, no open files of the caller, and / as its directory" {
	expect_no_io
	: >"$top/held"
	exec 7<"$top/held"
	mount_fs
	exec 7<&-
	fails grep -F "$top/held" <(readlink "/proc/$daemon"/fd/*)
	[ "$(readlink "/proc/$daemon/cwd")" = / ]
	[ "$(cat "/proc/$daemon/comm")" = uringfs ]
	[ "$(ps -o tty= -p "$daemon" | tr -d ' ')" = '?' ]
	[ "$(ps -o sid= -p "$daemon" | tr -d ' ')" != "$(ps -o sid= -p $$ | tr -d ' ')" ]
}

@test "-f stays in the foreground and SIGTERM ends it with status 0" {
	in_foreground
	seq 1000 >"$mnt/f"
	cmp "$mnt/f" "$source/f"
	assert_reactor_used
	kill -TERM "$daemon"
	ends_with 0 "$daemon"
	fails is_mounted
}

@test "SIGINT ends it too, and so does umount" {
	expect_no_io
	in_foreground
	kill -INT "$daemon"
	ends_with 0 "$daemon"
	in_foreground
	umount "$mnt"
	ends_with 0 "$daemon"
	in_foreground
	fusermount3 -u "$mnt"
	ends_with 0 "$daemon"
}

@test "SIGHUP ends what runs in the foreground of a terminal, and nothing else" {
	expect_no_io
	# As under systemd: no terminal.
	setsid "$URINGFS" -f "$source" "$mnt" 2>"$log" 3>&- &
	await_daemon
	kill -HUP "$daemon"
	kill -USR1 "$daemon"
	await grep -q counters "$log" # it is past the SIGHUP, and serves
	ls "$mnt"
	unmount
	script -qec "exec env --default-signal=HUP $URINGFS -f '$source' '$mnt'" /dev/null >"$log" 2>&1 </dev/null 3>&- &
	local terminal=$!
	await_daemon
	kill -KILL $terminal
	await_exit "$daemon"
	fails is_mounted
}

@test "SIGTERM during I/O: a clean unmount, status 0, and what was synced is there" {
	in_foreground drain_timeout=1,lazy_timeout=60
	seq 100000 >"$mnt/synced"
	sync "$mnt/synced"
	local writers=() w
	for w in 1 2 3; do
		bash -c 'while mountpoint -q "$1" && dd if=/dev/zero of="$1/busy$2" bs=64k count=64 conv=notrunc status=none && cat "$1/busy$2" >/dev/null; do :; done' \
			_ "$mnt" $w 2>/dev/null 3>&- &
		writers+=($!)
	done
	busy() { [ "$(stats_of "$mnt" reactor.completed)" -gt 500 ]; }
	await busy
	kill -TERM "$daemon"
	ends_with 0 "$daemon"
	wait "${writers[@]}" || true
	fails is_mounted
	[ "$(sha256sum <"$source/synced")" = "$(seq 100000 | sha256sum)" ]
}

@test "SIGTERM with a file held open: its user is waited for, then cut off, and status 20 says so" {
	in_foreground drain_timeout=1,lazy_timeout=1
	seq 10 >"$mnt/f"
	exec 8<>"$mnt/f"
	kill -TERM "$daemon"
	ends_with 20 "$daemon"
	[ "$(cat "$source/f")" = "$(seq 10)" ]
	exec 8>&-
	fails is_mounted
}

@test "SIGKILL of a busy daemon leaves errors, not hangs, and the mountpoint can be taken again" {
	in_foreground
	seq 100000 >"$mnt/f"
	bash -c 'while dd if="$1" of=/dev/null bs=4k iflag=direct; do :; done' _ "$mnt/f" 2>/dev/null 3>&- &
	local reader=$!
	busy() { [ "$(stats_of "$mnt" reactor.completed)" -gt 500 ]; }
	await busy
	kill -KILL "$daemon"
	ends_with 137 "$daemon"
	wait "$reader" || true # it ends, by an error
	await is_dead
	mount_fs recover
	cmp "$mnt/f" "$source/f"
}

@test "two mounts of one source serve the same files" {
	mkdir "$BATS_TEST_TMPDIR/second"
	mount_fs
	"$URINGFS" --log-file "$log.2" -o "$(mount_options attr_timeout=0,entry_timeout=0)" "$source" "$BATS_TEST_TMPDIR/second"
	local second
	second=$(daemon_of "$BATS_TEST_TMPDIR/second")
	seq 1000 >"$mnt/f"
	cmp "$mnt/f" "$BATS_TEST_TMPDIR/second/f"
	umount "$BATS_TEST_TMPDIR/second"
	await_exit "$second"
}

@test "a mount on top of a uringfs mount works" {
	mkdir "$BATS_TEST_TMPDIR/second"
	mount_fs
	"$URINGFS" --log-file "$log.2" -o "$(mount_options)" "$mnt" "$BATS_TEST_TMPDIR/second"
	local second
	second=$(daemon_of "$BATS_TEST_TMPDIR/second")
	seq 1000 >"$BATS_TEST_TMPDIR/second/f"
	cmp "$BATS_TEST_TMPDIR/second/f" "$source/f"
	umount "$BATS_TEST_TMPDIR/second"
	await_exit "$second"
}

# Go 1.26 can take a minute to stop the world if its monitor sleeps meanwhile; see
# mount/monitor.go. Timers keep that awake, which shows in an idle daemon.
@test "an idle daemon's monitor looks in every now and then" {
	expect_no_io
	mount_fs
	switches() { awk '$1 == "voluntary_ctxt_switches:" {n += $2} END {print n}' /proc/"$daemon"/task/*/status; }
	local before
	before=$(switches)
	# shellcheck disable=SC2317 # called by await
	awake() { [ "$(switches)" -ge $((before + 20)) ]; }
	await awake
}
