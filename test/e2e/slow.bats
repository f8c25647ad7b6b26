#!/usr/bin/env bats
# A backing that is slow, or hangs, must not take the mount down with it.

load helpers

setup() {
	make_directories
	slow=$top/slow # slowfs, the backing of the mount
	mkdir "$slow"
	"$BIN/slowfs" -ops read "$source" "$slow" 3>&- &
	slowfs=$!
	at_end unmount_slow
	await mountpoint -q "$slow"
}

teardown() {
	[ -n "${slow:-}" ] || return 0
	steer release
	check_and_clean
}

unmount_slow() {
	umount "$slow" || umount -l "$slow"
	await_exit "$slowfs"
}

steer() { printf '%s\n' "$@" >"$slow/.slowfs"; }

# slow_count WORD prints a number of slowfs: waiting, passed or interrupted.
slow_count() { awk -v w="$1" '$1 == w {print $2}' "$slow/.slowfs"; }

threads_of() { awk '$1 == "Threads:" {print $2}' "/proc/$1/status"; }

# answers COMMAND... fails if the command fails, or hangs like what waits for a
# release.
answers() { timeout 60 "$@" >/dev/null; }

@test "1,000 readers blocked at once: threads stay below the bound and metadata answers" {
	seq 2000 >"$source/file"
	seq 1 100 >"$source/other"
	# Over io_uring the requests in hand are bounded by depth and memory; others
	# wait in the kernel, and with them metadata.
	source=$slow mount_fs max_write=128K uring_depth=1024
	local bound=304 readers blocked # 240 kernel workers, the rings' threads and Go's
	steer hang

	fio --name=r --filename="$mnt/file" --rw=read --bs=4k --size=4k --number_ios=1 --direct=1 --ioengine=psync \
		--thread --numjobs=1000 --group_reporting >"$BATS_TEST_TMPDIR/fio.out" 2>&1 3>&- &
	readers=$!
	# All of them are in the daemon: in flight there or waiting for room.
	all_blocked() {
		blocked=$(($(stats_of "$mnt" reactor.in_flight) + $(stats_of "$mnt" reactor.waiting)))
		[ "$blocked" -ge 1000 ]
	}
	await all_blocked

	echo "threads: $(threads_of "$daemon"), bound: $bound" >&3
	[ "$(threads_of "$daemon")" -le "$bound" ]
	local i
	for i in 1 2 3; do
		answers stat "$mnt/other"
		answers ls -l "$mnt"
		answers mkdir "$mnt/dir$i"
		answers mv "$mnt/dir$i" "$mnt/moved$i"
		answers rmdir "$mnt/moved$i"
	done

	steer release
	wait $readers
	[ "$(cat "$mnt/other")" = "$(seq 1 100)" ]
	[ "$(stats_of "$mnt" reactor.in_flight)" -eq 0 ]
}

@test "256 readers of a hung backing wait there side by side, not one after the other" {
	seq 2000 >"$source/file"
	source=$slow mount_fs
	steer hang
	fio --name=r --filename="$mnt/file" --rw=read --bs=4k --size=4k --number_ios=1 --direct=1 --ioengine=psync \
		--thread --numjobs=256 >"$BATS_TEST_TMPDIR/fio.out" 2>&1 3>&- &
	local readers=$!
	# All that there are workers for (240) are in the backing at once.
	side_by_side() { [ "$(slow_count waiting)" -ge 200 ]; }
	await side_by_side
	steer release
	wait $readers
}

@test "a killed reader of a hung backing is gone, and the mount goes on" {
	seq 2000 >"$source/file"
	seq 10 >"$source/other"
	source=$slow mount_fs
	steer hang
	cat "$mnt/file" >/dev/null 2>&1 3>&- &
	local reader=$!
	waits() { [ "$(slow_count waiting)" -ge 1 ]; }
	await waits
	kill -KILL $reader
	await is_gone $reader
	answers stat "$mnt/other"
	steer release
	[ "$(cat "$mnt/other")" = "$(seq 10)" ]
}

# caller FILE OP starts a process that does OP (read, write or fsync) on the file,
# with handlers for signals that do not restart it, and writes what came of it to
# FILE.result in $BATS_TEST_TMPDIR: ok, or the errno's name. Then it sleeps. Its pid is
# in $caller.
caller() {
	perl -MErrno -MIO::Handle -e '
		my ($file, $op, $result) = @ARGV;
		$SIG{$_} = sub {} for qw(USR1 ALRM INT);
		open(my $f, "+<", $file) or die "$file: $!";
		my $done = $op eq "read" ? sysread($f, my $data, 4096) : $op eq "write" ? syswrite($f, "data") : $f->sync;
		my $said = $done ? "ok" : join " ", grep { $!{$_} } keys %!;
		close $f;
		open(my $out, ">", "$result.new") or die;
		print $out "$said\n" and close $out and rename("$result.new", $result) or die;
		sleep 1 while getppid() != 1;' "$mnt/$1" "$2" "$BATS_TEST_TMPDIR/$1.result" 3>&- &
	caller=$!
	at_end end_caller "$caller"
}

end_caller() { kill -KILL "$1" 2>/dev/null || true; }

has_result() { [ -e "$BATS_TEST_TMPDIR/$1.result" ]; }
result_of() { await has_result "$1" && cat "$BATS_TEST_TMPDIR/$1.result"; }

# interrupted_callers FILE:OP:SIGNAL... has callers hang and signals them, in turn.
# One more reader, which gets SIGINT last, shows when they have been looked at.
interrupted_callers() {
	local spec file op signal waiting=0 signals=()
	for spec in "$@" sentinel:read:INT; do seq 100 >"$source/${spec%%:*}"; done
	source=$slow mount_fs direct_io
	steer "ops read,write,fsync" hang
	waits() { [ "$(slow_count waiting)" -eq "$waiting" ]; }
	for spec in "$@" sentinel:read:INT; do
		IFS=: read -r file op signal <<<"$spec"
		caller "$file" "$op"
		callers[$file]=$caller signals+=("$signal $caller")
		await waits $((waiting += 1))
	done
	for signal in "${signals[@]}"; do
		# shellcheck disable=SC2086 # two words
		kill -s $signal
	done
	[ "$(result_of sentinel)" = EINTR ]
}

@test "a handled signal does not make I/O fail, but SIGINT a read" {
	local -A callers
	interrupted_callers read:read:USR1 write:write:ALRM sync:fsync:USR1 asked:fsync:INT
	[ "$(slow_count interrupted)" -eq 1 ]
	kill -s INT "${callers[write]}" # the kernel says nothing of a second signal
	[ "$(result_of write)" = EINTR ]
	steer release
	local file
	for file in read sync asked; do [ "$(result_of $file)" = ok ]; done
}

@test "what kills a process ends it in hung I/O, though it has handled a signal before" {
	local -A callers
	local file
	ulimit -c 0
	interrupted_callers read:read:USR1 sync:fsync:INT abort:fsync:USR1
	kill -KILL "${callers[read]}" "${callers[sync]}"
	kill -ABRT "${callers[abort]}" # without a SIGKILL, as it dumps core
	for file in read sync abort; do await is_gone "${callers[$file]}"; done
}

@test "processes that live on when the connection is cut do not keep the daemon" {
	local -A callers
	interrupted_callers read:read:USR1 sync:fsync:USR1
	"$URINGFS" umount --force "$mnt"
	await_exit "$daemon"
	[ "$(result_of read)" != ok ]
	[ "$(result_of sync)" != ok ]
}

@test "a write that is cancelled in a mount above is cancelled in the mount below" {
	# What waits there is a kernel thread of the upper one's io_uring, which gets no
	# signals.
	local upper=$BATS_TEST_TMPDIR/upper upper_daemon writer
	seq 2000 >"$source/file"
	source=$slow mount_fs
	mkdir "$upper"
	"$URINGFS" -o "$(mount_options)" "$mnt" "$upper" 3>&-
	upper_daemon=$(daemon_of "$upper")
	steer "ops write" hang
	dd if=/dev/zero of="$upper/file" bs=4k count=1 conv=notrunc status=none 3>&- &
	writer=$!
	waits() { [ "$(slow_count waiting)" -eq 1 ]; }
	await waits
	kill -KILL $writer
	await is_gone $writer
	nothing_waits() { [ "$(slow_count waiting)" -eq 0 ]; }
	await nothing_waits
	[ "$(slow_count interrupted)" -eq 1 ]
	umount "$upper"
	await_exit "$upper_daemon"
}

@test "of readers that hang one behind the other each can be killed, first and last" {
	local i readers=()
	for i in 0 1 2 3 4 5 6 7; do seq 100 >"$source/file$i"; done
	source=$slow mount_fs workers=2 uring_depth=2
	steer hang
	all_waiting() { [ "$("$URINGFS" stats --field fuse.waiting "$mnt")" -ge ${#readers[@]} ]; }
	for i in 0 1 2 3 4 5 6 7; do
		timeout 300 dd if="$mnt/file$i" of=/dev/null iflag=direct bs=4k count=1 2>/dev/null 3>&- &
		readers+=($!)
		# In turn, so that the last is behind all others; what a full ring does
		# not open hangs there.
		await all_waiting
	done
	for i in 7 0 4 1 6; do
		pkill -KILL -P "${readers[i]}" dd
		await is_gone "${readers[i]}"
	done
	steer release
	for i in 2 3 5; do wait "${readers[i]}"; done
	[ "$(cat "$mnt/file0")" = "$(seq 100)" ]
}

@test "a file is closed while its attributes are waited for, and others are read" {
	# go-fuse makes the end of a handle wait for GETATTRs. All on one CPU, so that
	# over io_uring they share a queue, which that wait must not hold.
	echo here >"$source/file"
	echo there >"$source/other"
	source=$slow mount_fs attr_timeout=0,direct_io
	mkfifo "$BATS_TEST_TMPDIR/close" "$BATS_TEST_TMPDIR/closed"
	# shellcheck disable=SC2016 # expanded in there
	taskset -c 0 bash -c 'exec 5<"$1/file" 6<"$1/other" && echo opened >"$2/closed" && read -r _ <"$2/close"
		exec 5<&- && read -r line <&6 && echo "$line" >"$2/closed"' _ "$mnt" "$BATS_TEST_TMPDIR" 3>&- &
	local reader=$! line
	read -r line <"$BATS_TEST_TMPDIR/closed"
	steer "ops getattr" hang
	# Bash asks with stat(2), which is a GETATTR; stat(1) would send a STATX.
	# shellcheck disable=SC2016 # expanded in there
	taskset -c 0 bash -c 'test -s "$1"' _ "$mnt/file" 3>&- &
	local stat=$!
	waits() { [ "$(slow_count waiting)" -ge 1 ]; }
	await waits
	echo >"$BATS_TEST_TMPDIR/close"
	read -r -t 60 line <>"$BATS_TEST_TMPDIR/closed"
	[ "$line" = there ]
	steer release
	wait $stat $reader
}

@test "SIGTERM while readers hang in the backing ends the daemon" {
	seq 2000 >"$source/file"
	source=$slow mount_fs drain_timeout=1,lazy_timeout=1
	steer hang
	cat "$mnt/file" >/dev/null 2>&1 3>&- &
	local reader=$!
	waits() { [ "$(slow_count waiting)" -ge 1 ]; }
	await waits
	kill -TERM "$daemon"
	await is_gone "$daemon"
	fails is_mounted
	wait $reader || true
	steer release
}
