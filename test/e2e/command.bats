#!/usr/bin/env bats
# The command line: help, version, exit codes, logs, stats, completions.

load helpers

# says STATUS TEXT COMMAND... fails unless the command ends with the status and
# says two lines: one that begins with "uringfs: " and holds the text, and a hint.
says() {
	local want=$1 text=$2
	shift 2
	run --separate-stderr timeout 300 "$@"
	# shellcheck disable=SC2154 # set by run
	[[ $status -eq $want && ${stderr_lines[0]} == "uringfs: "*"$text"* && ${stderr_lines[1]} == "hint: "?* && ${#stderr_lines[@]} -eq 2 ]] || {
		echo "status $status, said: $stderr" >&2
		return 1
	}
	fails is_mounted
}

@test "--help and --version print to standard output and need no arguments" {
	expect_no_io
	run -0 --separate-stderr "$URINGFS" --help
	[[ $output == *Usage:* && $output == *Examples:* && $output == *"/etc/fstab"* && -z $stderr ]]
	run -0 --separate-stderr "$URINGFS" --version
	[[ $output == "uringfs "* && -z $stderr ]]
	run -0 "$URINGFS" help options
	[[ $output == *"transport=auto|uring|dev"* ]]
}

@test "each failure has its exit code, in the background and in the foreground" {
	expect_no_io
	mkdir "$source/below" "$top/full"
	: >"$top/full/file"
	local f
	for f in "" -f; do
		says 1 "SOURCE" "$URINGFS" $f
		says 1 "MOUNTPOINT" "$URINGFS" $f "$source"
		says 1 "comes after" "$URINGFS" $f "$source" "$mnt" more
		says 1 "unknown flag" "$URINGFS" $f --no-such-flag "$source" "$mnt"
		says 1 "is empty" "$URINGFS" $f "" "$mnt"
		says 1 "is empty" "$URINGFS" $f "$source" ""
		says 1 "log-level=shout: no such" "$URINGFS" $f --log-level=shout "$source" "$mnt"
		says 1 "log-level=panic: no such" "$URINGFS" $f --log-level=panic "$source" "$mnt"
		says 1 "log-format=xml: no such" "$URINGFS" $f --log-format=xml "$source" "$mnt"
		says 1 "log-file=: it needs" "$URINGFS" $f --log-file= "$source" "$mnt"
		says 1 "log file" "$URINGFS" $f --log-file=/nonexistent/log "$source" "$mnt"
		says 1 "log file" "$URINGFS" $f --log-file="$top/full" "$source" "$mnt"
		says 1 "control=: it needs" "$URINGFS" $f --control= "$source" "$mnt"
		says 1 "/nonexistent/dir" "$URINGFS" $f --control=/nonexistent/dir/socket "$source" "$mnt"
		says 1 "no socket is there" "$URINGFS" $f --control="$top/full/file" "$source" "$mnt"
		says 1 "foreground=maybe: it takes no value" "$URINGFS" $f --foreground=maybe "$source" "$mnt"
		says 10 "no such file" "$URINGFS" $f "$top/missing" "$mnt"
		says 10 "not a directory" "$URINGFS" $f "$top/full/file" "$mnt"
		says 11 "no such file" "$URINGFS" $f "$source" "$top/missing"
		says 11 "not a directory" "$URINGFS" $f "$source" "$top/full/file"
		says 11 "not empty" "$URINGFS" $f "$source" "$top/full"
		says 13 "deadlock" "$URINGFS" $f "$source" "$source/below"
		says 13 "deadlock" "$URINGFS" $f / "$mnt"
	done
}

@test "subcommands refuse what they do not know, with a hint" {
	expect_no_io
	says 1 "at least one MOUNTPOINT" "$URINGFS" umount
	says 1 "unknown flag: --lzay" "$URINGFS" umount --lzay "$mnt"
	says 1 "lazy=maybe: it takes no value" "$URINGFS" umount --lazy=maybe "$mnt"
	says 1 "is empty" "$URINGFS" umount ""
	says 1 "one MOUNTPOINT" "$URINGFS" stats
	says 1 "one MOUNTPOINT" "$URINGFS" stats "$mnt" "$mnt"
	says 1 "is empty" "$URINGFS" stats ""
	says 1 "field=: it needs" "$URINGFS" stats --field= "$mnt"
	says 22 "no such file" "$URINGFS" stats --control "$top/missing" "$mnt"
	says 1 "one SOURCE" "$URINGFS" doctor a b
	says 1 "is empty" "$URINGFS" doctor ""
	says 1 "unknown flag: --jsn" "$URINGFS" doctor --jsn
	says 1 "json=x: it takes no value" "$URINGFS" doctor --json=x
	says 1 "name of one shell" "$URINGFS" completion
	says 1 'no completions for "tcsh"' "$URINGFS" completion tcsh
	says 1 'no help on "nonsense"' "$URINGFS" help nonsense
	says 10 '"umuont": no such file' "$URINGFS" umuont "$mnt"
}

@test "a mount that would propagate into its own source is refused" {
	expect_no_io
	export top
	# shellcheck disable=SC2016 # expanded in there
	run -0 timeout 300 unshare -m --propagation private bash -euxo pipefail -c '
		mkdir "$top/a" "$top/b"
		mount -t tmpfs tmpfs "$top/a"
		mount --make-shared "$top/a"
		mkdir -p "$top/a/sub/deep/in"
		mount --bind "$top/a/sub/deep" "$top/b"
		code=0
		"$URINGFS" "$top/a/sub" "$top/b/in" 2>"$top/err" || code=$?
		cat "$top/err"
		[ $code -eq 13 ]
		grep -q "$top/a/sub/deep/in" "$top/err"
		# Without propagation there is no danger.
		mount --make-private "$top/b"
		"$URINGFS" "$top/a/sub" "$top/b/in"
		ls "$top/b/in/deep/in"
		"$URINGFS" umount "$top/b/in"'
}

@test "SIGTERM while the mount comes up: no mount, no process, exit code 3 or a clean end" {
	expect_no_io
	local delay code
	for delay in 0 0.005 0.01 0.02 0.04 0.08; do
		"$URINGFS" -f "$source" "$mnt" 2>>"$log" 3>&- &
		sleep $delay
		code=0
		kill -TERM $! && wait $! || code=$?
		# 143: before Go had its handler. Anything else must be ours.
		[[ $code -eq 0 || $code -eq 3 || $code -eq 143 ]] || {
			echo "status $code" >&2
			return 1
		}
		fails is_mounted
	done
}

@test "a second mount on the same mountpoint is refused and says what is there" {
	expect_no_io
	echo x >"$source/f"
	mount_fs
	run --separate-stderr "$URINGFS" "$source" "$mnt"
	[ "$status" -eq 11 ]
	[[ $stderr == *"already"*"uringfs umount"* ]]
}

@test "the log is text or JSON, and SIGHUP follows a rotation" {
	"$URINGFS" --log-file "$log" --log-format=json "$source" "$mnt" 3>&-
	daemon=$(daemon_of "$mnt") fds_at_start=$(open_files "$daemon")
	echo x >"$mnt/f"
	jq -e 'select(.msg == "mounted") | .mountpoint' "$log"
	mv "$log" "$log.1"
	kill -HUP "$daemon"
	await test -e "$log"
	kill -USR1 "$daemon"
	await grep -q counters "$log"
	[ "$(jq -r 'select(.msg == "counters") | .stats.reactor.completed' "$log")" -gt 0 ]
}

@test "stats prints JSON or one field, and touches nothing on the mount" {
	mount_fs
	seq 100 >"$mnt/f"
	"$URINGFS" stats "$mnt" | jq -e '.reactor.bytes_written > 0 and .tree.nodes > 0 and .pid > 1'
	[ "$("$URINGFS" stats --field mountpoint "$mnt")" = "$mnt" ]
	run -1 "$URINGFS" stats --field no.such "$mnt"
	kill -STOP "$daemon"
	run -22 timeout 300 "$URINGFS" stats "$mnt" # the daemon itself is stopped: no answer, but no hang in the mount
	kill -CONT "$daemon"
}

@test "stats of what is not a mount has an exit code of its own" {
	expect_no_io
	says 22 "not a mountpoint" "$URINGFS" stats "$mnt"
	says 22 "type proc" "$URINGFS" stats /proc
}

@test "--control none opens no socket, --control PATH that one" {
	expect_no_io
	"$URINGFS" --control "$top/socket" "$source" "$mnt" 3>&-
	[ "$("$URINGFS" stats --control "$top/socket" --field mountpoint "$mnt")" = "$mnt" ]
	daemon=$("$URINGFS" stats --control "$top/socket" --field pid "$mnt") fds_at_start=99
	umount "$mnt"
	await_exit "$daemon"
	[ ! -e "$top/socket" ]
	# A relative path is one of the directory the command was given in, and a
	# socket that is in use stays.
	mkdir "$top/second"
	(cd "$top" && "$URINGFS" --control socket "$source" "$mnt" 3>&-)
	run -1 "$URINGFS" --control "$top/socket" "$source" "$top/second"
	[[ $output == *"another process listens"* ]]
	daemon=$("$URINGFS" stats --control "$top/socket" --field pid "$mnt")
	umount "$mnt"
	await_exit "$daemon"
	[ ! -e "$top/socket" ]
	"$URINGFS" --control none "$source" "$mnt" 3>&-
	run -22 "$URINGFS" stats "$mnt"
	daemon=$(pgrep -f "$URINGFS --control none $source")
	umount "$mnt"
	await_exit "$daemon"
}

@test "completions know commands, options, their values and our mountpoints" {
	expect_no_io
	mount_fs
	local shell
	for shell in bash zsh fish; do
		[ -n "$("$URINGFS" completion "$shell")" ]
	done
	run -0 "$URINGFS" __complete -o ro,transport= ''
	run -0 "$URINGFS" __complete -o ro,tra
	[[ $output == *"ro,transport=uring"* ]]
	run -0 --separate-stderr "$URINGFS" __complete um
	[[ $output == "umount"*":0" ]]
	run -0 --separate-stderr "$URINGFS" __complete "$source" ''
	[[ $output == ":16" ]] # directories
	run -0 --separate-stderr "$URINGFS" __complete umount ''
	[[ $output == *"$mnt"* ]]
}

@test "a shell that waits for the output goes on when the mount is up" {
	expect_no_io
	local out
	out=$(timeout 300 "$URINGFS" "$source" "$mnt" 2>&1 3>&-)
	daemon=$(daemon_of "$mnt") fds_at_start=$(open_files "$daemon")
	[ -z "$out" ]
}
