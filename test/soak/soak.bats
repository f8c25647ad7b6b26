#!/usr/bin/env bats
# Long and heavy use. Each test goes on for SOAK_SECONDS (30); scripts/soak runs
# them for longer and over both transports.

load ../e2e/helpers

seconds=${SOAK_SECONDS:-30}

@test "verified mixed I/O: six jobs, odd sizes and offsets, a garbage collector in a hurry" {
	GOGC=5 mount_fs
	local engine sizes end=$((SECONDS + seconds)) pass=0
	while [ $SECONDS -lt $end ]; do
		for engine in psync libaio io_uring mmap; do
			sizes="--bsrange=1k-90k --bs_unaligned"
			[ $engine != mmap ] || sizes=--bsrange=4k-92k # maps have pages
			# shellcheck disable=SC2086 # words
			fio --name=soak --directory="$mnt" --ioengine="$engine" --iodepth=8 --thread --numjobs=6 --size=12m \
				--rw=randrw --rwmixread=40 $sizes --randseed=$((pass + 1)) \
				--verify=crc32c --do_verify=1 --verify_fatal=1 --verify_backlog=64 --verify_state_save=0 --fsync=200 \
				--group_reporting >"$BATS_TEST_TMPDIR/fio.out" 2>&1 || {
				cat "$BATS_TEST_TMPDIR/fio.out"
				return 1
			}
			pass=$((pass + 1))
		done
	done
}

@test "files used in every way there is hold what was written, in each mode" {
	local mode apart modes=('' writeback_cache direct_io kernel_cache backing_direct backing_uncached)
	for mode in "${modes[@]}"; do
		echo "# ${mode:-as it is}" >&3
		# shellcheck disable=SC2086 # none for one
		mount_fs ${mode:+"$mode"}
		# Stores to a page that others write take a cache.
		apart=
		[ "$mode" != direct_io ] || apart=-apart
		# shellcheck disable=SC2086 # words or none
		"$BIN/filecheck" -source "$source" -workers 6 -time $((seconds / ${#modes[@]} + 1))s $apart "$mnt"
		unmount
	done
}

@test "mount, use, kill, mount again: nothing is left of any round" {
	local end=$((SECONDS + seconds)) how rounds=0
	mkdir "$source/dir" # not on the mountpoint below the mount
	while [ $SECONDS -lt $end ]; do
		for how in umount lazy TERM KILL; do
			mount_fs recover drain_timeout=1 lazy_timeout=1
			bash -c 'while mountpoint -q "$1" && dd if=/dev/zero of="$1/dir/busy" bs=128k count=32 status=none && dd if="$1/dir/busy" of=/dev/null iflag=direct bs=4k status=none; do :; done' \
				_ "$mnt" 2>/dev/null 3>&- &
			local user=$!
			busy() { [ "$(stats_of "$mnt" reactor.completed)" -gt 100 ]; }
			await busy
			case $how in
				umount) kill $user && wait $user || true && await umount "$mnt" ;;
				lazy) umount -l "$mnt" ;;
				*) kill -s "$how" "$daemon" ;;
			esac
			wait $user || true
			await is_gone "$daemon"
			rounds=$((rounds + 1))
		done
	done
	echo "$rounds rounds" >&3
	mount_fs recover
	echo over >>"$mnt/dir/busy" # the kill may have come when it was empty
	cmp "$mnt/dir/busy" "$source/dir/busy"
}

@test "stress-ng's file classes find nothing wrong" {
	command -v stress-ng >/dev/null || skip "no stress-ng"
	mount_fs suid,dev
	local class known alarms
	known=" $(stress-ng --stressors) "
	alarms=$(kernel_alarms)
	# Those that do something with files below --temp-path; fiemap is missing: FUSE has
	# none. So is fanotify: its permission events of all mounts hold up the daemon
	# of the one it waits for. And getdent reads /proc, /sys and /tmp, whatever hangs
	# there.
	for class in access acl aio aiol chattr chdir chmod chown chroot copy-file dentry dir dirdeep dirmany dnotify dup dynlib \
		eventfd fallocate fault fcntl fd-race file-ioctl filename file-race flock fpunch fsize fstat \
		handle hdd inode-flags inotify io io-uring iomix lease link locka lockf lockmix lockofd madvise metamix mincore mknod \
		mlock mmap mmapaddr mmapfiles mmapfixed mmapfork mmapmany msync msyncmany munmap open pipe readahead remap rename \
		revio seek sendfile splice symlink sync-file tee touch truncate unlink utime verity vm-splice xattr; do
		[[ $known == *" $class "* ]] || continue # versions differ
		# Not --temp-path "$mnt": io-uring gets long paths wrong (0.15).
		(cd "$mnt" && timeout $((seconds + 60)) stress-ng --temp-path . --"$class" 2 --timeout $((seconds / 10 + 1)) --verify --quiet 3>&-) || {
			echo "stress-ng --$class: status $?" >&2
			return 1
		}
		[ "$(kernel_alarms)" -eq "$alarms" ] || {
			echo "stress-ng --$class: the kernel complains" >&2
			return 1
		}
	done
	[ -z "$(ls -A "$mnt")" ]
}

# kernel_alarms counts what the kernel has said about itself being wrong or stuck.
kernel_alarms() { dmesg | grep -cE 'cut here|BUG:|Oops|blocked for more than|lockup' || true; }

@test "PostgreSQL: initdb, pgbench, a crash in the middle, recovery, amcheck" {
	local bin
	bin=$(find /usr/lib/postgresql -name initdb -printf '%h\n' 2>/dev/null | sort -V | tail -n 1)
	[ -n "$bin" ] || skip "no PostgreSQL"
	chmod 755 "$top" "$source" "$BATS_TEST_TMPDIR"
	mount_fs allow_other
	mkdir "$mnt/data" "$BATS_TEST_TMPDIR/socket"
	chown postgres "$mnt/data" "$BATS_TEST_TMPDIR/socket"
	as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups env PATH="$bin:$PATH" PGHOST="$BATS_TEST_TMPDIR/socket" PGDATA="$mnt/data" "$@" 3>&-; }
	start() { as_postgres pg_ctl -s -w -t 120 -l "$BATS_TEST_TMPDIR/socket/log" -o "-k $BATS_TEST_TMPDIR/socket -c listen_addresses= -c shared_buffers=16MB -c checkpoint_timeout=30s" start || { cat "$BATS_TEST_TMPDIR/socket/log" >&2 && return 1; }; }
	# The socket must be reachable for postgres.
	chmod a+x "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/.." "$BATS_TEST_TMPDIR/../.."
	as_postgres initdb -A trust --data-checksums >/dev/null
	start
	as_postgres pgbench -i -q -s 5 postgres 2>/dev/null
	as_postgres pgbench -c 4 -T "$seconds" postgres >/dev/null 2>&1 &
	local bench=$!
	sleep $((seconds / 2))
	local postmaster children child
	postmaster=$(head -n 1 "$mnt/data/postmaster.pid")
	children=$(pgrep -P "$postmaster")
	kill -KILL "$postmaster"
	wait $bench || true
	# Its children notice and end before it may start again.
	for child in $postmaster $children; do
		await is_gone "$child"
	done
	# A postmaster that init has not buried would hold its locks.
	rm -f "$mnt/data/postmaster.pid" "$BATS_TEST_TMPDIR"/socket/.s.PGSQL.*
	start
	as_postgres psql -qAt postgres -c 'CREATE EXTENSION amcheck' \
		-c "SELECT count(bt_index_check(indexrelid, true)) > 0 FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relam = 403 AND relkind = 'i' AND relpersistence <> 't'" \
		-c "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches)" >"$BATS_TEST_TMPDIR/psql.out"
	[ "$(cat "$BATS_TEST_TMPDIR/psql.out")" = $'t\nt' ]
	as_postgres pg_ctl -s -w -m fast stop
	as_postgres pg_checksums --check >/dev/null
}
