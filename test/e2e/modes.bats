#!/usr/bin/env bats
# Modes of I/O: deadlines, O_DIRECT, caches, engines.

load helpers

# on_slow_backing [OPTION...] puts slowfs between $source and the mount.
on_slow_backing() {
	slow=$BATS_TEST_TMPDIR/slow
	mkdir "$slow"
	"$BIN/slowfs" "$source" "$slow" 3>&- &
	slowfs=$!
	await mountpoint -q "$slow"
	at_end drop_slow_backing
	local plain_source=$source
	source=$slow
	mount_fs "$@"
	source=$plain_source
}

drop_slow_backing() {
	echo release >"$slow/.slowfs"
	await umount "$slow"
	wait "$slowfs" || true
}

@test "io_timeout: users of a hung backing get ETIMEDOUT, and the mount goes on" {
	echo fast >"$source/fast"
	seq 1000 >"$source/slow"
	on_slow_backing io_timeout=2
	cat "$mnt/fast"
	echo hang >"$slow/.slowfs"
	run timeout 300 dd if="$mnt/slow" of=/dev/null iflag=direct bs=4k count=1
	[ "$status" -eq 1 ]
	[[ $output == *"timed out"* ]]
	run timeout 300 dd if=/dev/zero of="$mnt/fast" oflag=direct conv=notrunc bs=4k count=1
	[ "$status" -eq 1 ]
	[[ $output == *"timed out"* ]]
	stat "$mnt/fast"
	[ "$(stats_of "$mnt" reactor.expired)" -ge 2 ]
	echo release >"$slow/.slowfs"
	[ "$(cat "$mnt/slow")" = "$(seq 1000)" ]
}

@test "SIGTERM while the backing hangs: the daemon ends, and says that users were cut off" {
	seq 1000 >"$source/slow"
	on_slow_backing drain_timeout=0.5 lazy_timeout=0.5
	echo hang >"$slow/.slowfs"
	timeout 300 dd if="$mnt/slow" of=/dev/null iflag=direct bs=4k count=1 2>/dev/null 3>&- &
	local reader=$!
	hangs() { [ "$(stats_of "$mnt" reactor.in_flight)" -gt 0 ]; }
	await hangs
	kill -TERM "$daemon"
	await_exit "$daemon"
	fails wait "$reader"
	fails is_mounted
	grep -q 'still in use, aborting' "$log"
	grep -q 'requests=1' "$log"
}

@test "direct_io sends every read to the daemon, the page cache of the mount none" {
	seq 1000 >"$source/f"
	mount_fs direct_io
	cat "$mnt/f" >/dev/null
	local before
	before=$(stats_of "$mnt" reactor.completed)
	cat "$mnt/f" >/dev/null
	[ "$(stats_of "$mnt" reactor.completed)" -gt "$before" ]
}

@test "kernel_cache answers repeated reads without the daemon" {
	seq 1000 >"$source/f"
	mount_fs kernel_cache
	cat "$mnt/f" >/dev/null
	local before
	before=$(stats_of "$mnt" reactor.completed)
	cat "$mnt/f" >/dev/null
	[ "$(stats_of "$mnt" reactor.completed)" -eq "$before" ]
}

@test "writeback_cache collects small writes" {
	mount_fs writeback_cache
	dd if=/dev/zero of="$mnt/f" bs=64 count=10000 status=none
	sync "$mnt/f"
	[ "$(stat -c %s "$source/f")" -eq 640000 ]
	[ "$(stats_of "$mnt" reactor.completed)" -lt 1000 ]
}

@test "backing_direct passes O_DIRECT on" {
	seq 100000 >"$source/f"
	mount_fs backing_direct
	dd if="$mnt/f" iflag=direct bs=4k status=none | cmp - "$source/f"
	# A reader that has opened it and waits, to look at the daemon's descriptor.
	mkfifo "$top/go"
	dd if="$mnt/f" of="$top/go" iflag=direct bs=4k count=1 status=none 3>&- &
	local reader=$!
	local o_direct=040000
	[ "$(uname -m)" != aarch64 ] || o_direct=0200000
	# shellcheck disable=SC2317 # called by await
	direct() {
		local flags
		while read -r flags; do
			((8#$flags & o_direct && !(8#$flags & 8#10000000))) && return 0
		done < <(awk '$1 == "flags:" {print $2}' /proc/"$daemon"/fdinfo/* 2>/dev/null)
		return 1
	}
	await direct
	cat "$top/go" >/dev/null
	wait $reader
}

@test "backing_direct takes requests of any size and place, and keeps the page cache of the source out of aligned ones" {
	mount_fs backing_direct
	local mix
	for mix in --bs=4k "--bsrange=512-37k --bs_unaligned" "--bsrange=100-9k --bs_unaligned"; do
		# shellcheck disable=SC2086 # words
		fio --name=mix --filename="$mnt/f" --ioengine=libaio --iodepth=16 --direct=1 --serialize_overlap=1 --rw=randwrite $mix --size=4m --numjobs=2 \
			--offset_increment=5000003 --verify=crc32c --do_verify=1 --verify_fatal=1 --verify_state_save=0 --group_reporting >"$BATS_TEST_TMPDIR/fio.out" || {
			cat "$BATS_TEST_TMPDIR/fio.out"
			return 1
		}
	done
	dd if=/dev/urandom of="$mnt/g" oflag=direct bs=64k count=16 status=none
	[[ $(stat -f -c %T "$source") == tmpfs ]] || [ "$(fincore -bno PAGES "$source/g")" -lt 50 ]
}

@test "backing_uncached: the data is right, and the page cache of the source stays out of it" {
	seq 300000 >"$source/f"
	sync "$source/f"
	mount_fs backing_uncached
	cp "$mnt/f" "$mnt/g"
	cmp "$source/f" "$source/g"
	sync "$source/g"
	dd if="$source/g" iflag=nocache count=0 status=none
	dd if="$mnt/g" iflag=direct bs=64k of=/dev/null status=none
	"$URINGFS" doctor "$source" | grep -q '^ok.*rwf_dontcache' || skip "the filesystem has no uncached I/O"
	# fincore is of util-linux.
	[ "$(fincore -bno PAGES "$source/g")" -lt 50 ]
}

@test "remote_locks excludes users of the source too" {
	expect_no_io
	: >"$source/f"
	mount_fs remote_locks
	exec 8>"$mnt/f"
	flock -n 8
	fails flock -n "$source/f" true
	exec 8>&-
	flock -w 60 "$source/f" true
}

@test "remote_locks: who waits can give up, be killed and be sent away by the daemon's end" {
	expect_no_io
	mount_fs remote_locks drain_timeout=0.5 lazy_timeout=0.5
	exec 8>"$mnt/f"
	flock 8
	run -1 flock -w 0.2 "$mnt/f" true 8>&-
	local waiter
	# shellcheck disable=SC2317 # called by await
	waits() { grep -q request_wait_answer "/proc/$waiter/wchan"; }
	flock "$mnt/f" true 3>&- 8>&- &
	waiter=$!
	await waits
	kill -KILL $waiter
	await_exit $waiter
	flock "$mnt/f" true 2>/dev/null 3>&- 8>&- &
	waiter=$!
	await waits
	kill -TERM "$daemon"
	await_exit "$daemon"
	fails wait $waiter
	exec 8>&-
	fails is_mounted
}

@test "readdirplus=on and off list the same" {
	local how
	expect_no_io
	sample_tree "$source"
	for how in auto on off; do
		mount_fs readdirplus=$how
		(cd "$mnt" && find . -printf '%p %i %s\n' | sort) >"$BATS_TEST_TMPDIR/$how"
		unmount
	done
	cmp "$BATS_TEST_TMPDIR/on" "$BATS_TEST_TMPDIR/off"
	cmp "$BATS_TEST_TMPDIR/auto" "$BATS_TEST_TMPDIR/off"
}

@test "engine=sync serves the same" {
	[ "${URINGFS_TRANSPORT:-}" != uring ] || skip "that transport lives on rings"
	expect_no_io # none by the reactor
	mount_fs engine=sync
	sample_tree "$plain"
	sample_tree "$mnt"
	assert_same_tree
	[ "$(stats_of "$mnt" sync.completed)" -gt 0 ]
}

@test "passthrough: the data is right, and none of it comes by the daemon" {
	expect_no_io
	mount_fs passthrough
	local before
	"$BIN/filecheck" -source "$source" -align 4096 "$mnt"
	seq 100000 >"$mnt/f"
	before=$(stats_of "$mnt" reactor.completed)
	dd if=/dev/urandom of="$mnt/f" bs=4k count=100 conv=notrunc status=none
	cmp "$mnt/f" "$source/f"
	[ "$(stats_of "$mnt" reactor.completed)" -eq "$before" ]
}

@test "passthrough is refused with what it bypasses" {
	expect_no_io
	local word
	for word in io_timeout=5 engine=sync writeback_cache kernel_cache direct_io backing_direct backing_uncached noatime; do
		run -1 --separate-stderr "$URINGFS" -o "passthrough,$word" "$source" "$mnt"
		# shellcheck disable=SC2154 # set by run
		[[ $stderr == "uringfs: "*"passthrough and ${word%=5}"*"hint: "* ]]
	done
}
