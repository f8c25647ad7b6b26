#!/usr/bin/env bats
# Data arrives whole on every way into a file: descriptors, maps, appends,
# unlinked files, many writers.

load helpers

# fio_write FILE ENGINE [OPTION...] writes FILE in random order, each block with
# its offset as the pattern, and verifies it.
fio_write() {
	local file=$1 engine=$2
	shift 2
	fio --name=w --filename="$file" --ioengine="$engine" --rw=randwrite --bs=4k --size=16m --randseed=7 \
		--verify=pattern --verify_pattern=%o --do_verify=1 --verify_fatal=1 --verify_state_save=0 "$@" >fio.out 2>&1 || {
		cat fio.out
		return 1
	}
	rm fio.out
}
export -f fio_write

@test "a shared map written in random order is the file that read(2) sees" {
	mount_fs
	map() {
		fio_write f mmap
		sha256sum f
	}
	on_both map
	assert_same_tree
}

@test "fio writes and verifies with psync, vectored, libaio, io_uring and O_DIRECT" {
	mount_fs
	engines() {
		fio_write psync psync
		fio_write odd psync --bsrange=512-37k --bs_unaligned
		fio_write vec pvsync2
		fio_write aio libaio --iodepth=16 --direct=1
		fio_write uring io_uring --iodepth=16
		fio_write uringd io_uring --iodepth=16 --direct=1
		fio_write sync psync --fdatasync=64
		sha256sum -- psync vec aio uring uringd sync
	}
	on_both engines
}

@test "several writers of one file do not disturb each other" {
	mount_fs
	writers() {
		fio --name=w --filename=shared --ioengine=psync --rw=randwrite --bs=4k --size=4m --offset_increment=4m --numjobs=4 --direct="$1" \
			--verify=pattern --verify_pattern=%o --do_verify=1 --verify_fatal=1 --verify_state_save=0 >out 2>&1 || { cat out && exit 1; }
		rm out
		sha256sum shared
	}
	on_both writers 0
	on_both writers 1
	assert_same_tree
}

@test "two processes append lines to one file and none is lost or torn" {
	mount_fs
	append() {
		local w
		for w in one two; do
			bash -c 'for i in $(seq 400); do echo "$1 line $i of this writer" >>log; done' _ $w &
			pids+=($!)
		done
		for w in "${pids[@]}"; do wait "$w"; done
		wc -l <log
		sort -V log | sha256sum
		# Each writer's lines stand in their order.
		grep ^one log | sha256sum
		grep ^two log | sha256sum
	}
	on_both append
}

@test "an unlinked file lives on for whoever has it open" {
	mount_fs
	unlinked() {
		seq 1000 >f
		exec 3<>f
		rm f
		ls -A
		stat -L -c '%h %s %F' /proc/self/fd/3
		echo changed >&3
		seq 20 >/proc/self/fd/3
		truncate -s 30 /proc/self/fd/3
		chmod 640 /proc/self/fd/3
		stat -L -c '%a %s' /proc/self/fd/3
		sha256sum </proc/self/fd/3
		# A new file of that name is another file.
		echo new >f
		cat f
		exec 3>&-
	}
	on_both unlinked
	assert_same_tree
}

@test "a file replaced by rename stays whole for its readers" {
	mount_fs
	replace() {
		seq 50000 >f
		exec 3<f
		seq -s, 50000 >g
		mv g f
		sha256sum <&3
		sha256sum f
		exec 3<&-
		ls
	}
	on_both replace
}

@test "a directory removed while it is somebody's working directory" {
	mount_fs
	removed() {
		seq 100 >keep
		tail -n 1 keep
		mkdir d
		cd d
		rmdir ../d
		ls -A
		fails touch x 2>/dev/null
	}
	on_both removed
}

@test "a file that is open and cached shows what others write to it" {
	mount_fs
	seq 100000 >"$source/f"
	exec 9<"$mnt/f"
	head -c 10 <&9 >/dev/null
	printf 'CHANGED' | dd of="$mnt/f" bs=7 seek=1000 conv=notrunc status=none
	[ "$(dd if="$mnt/f" bs=7 skip=1000 count=1 status=none)" = CHANGED ]
	[ "$(dd if="$source/f" bs=7 skip=1000 count=1 status=none)" = CHANGED ]
	[ "$(dd if="/proc/self/fd/9" bs=7 skip=1000 count=1 status=none)" = CHANGED ]
	exec 9<&-
}

@test "files at the edges: names of 255 bytes, deep paths, 5 GiB and sparse offsets" {
	mount_fs
	edges() {
		local name
		name=$(printf 'n%.0s' $(seq 255))
		echo long >"$name"
		cat "$name"
		fails touch "${name}n" 2>/dev/null
		(
			for _ in $(seq 60); do
				mkdir "${name:0:100}"
				cd "${name:0:100}"
			done
			echo deep >f
			cat f
		)
		printf 'far' | dd of=big bs=1 seek=5G conv=notrunc status=none
		stat -c %s big
		tail -c 5 big | od -c
		rm big
		find . -name f | wc -c
	}
	on_both edges
	remove() { rm -rf ./* && ls -A; }
	on_both remove
}

@test "ENOSPC comes to the writer and the files stay readable" {
	[ "${URINGFS_BACKING:-dir}" = dir ] || skip "makes a small image of its own"
	mkdir "$top/small"
	mount -t tmpfs -o size=4m uringfs-image "$top/small"
	at_end umount "$top/small"
	source=$top/small
	mount_fs
	run dd if=/dev/zero of="$mnt/full" bs=64k count=1000 conv=fsync
	[ "$status" -ne 0 ]
	[[ $output == *"No space left on device"* ]]
	rm "$mnt/full"
	# The space comes back when the kernel has let go of the file.
	# shellcheck disable=SC2317 # called by await
	has_space() { [ "$(stat -f -c %f "$source")" -gt 500 ]; }
	await has_space
	seq 1000 >"$mnt/f"
	[ "$(sha256sum <"$mnt/f")" = "$(seq 1000 | sha256sum)" ]
}
