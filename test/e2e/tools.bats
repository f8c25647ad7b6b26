#!/usr/bin/env bats
# Ordinary file tools do on the mount what they do on a plain directory.

load helpers

@test "cp -a brings a tree of everything over unchanged, times included" {
	sample_tree "$top/sample"
	mount_fs
	copy() { cp -a "$1/." .; }
	on_both copy "$top/sample"
	assert_same_tree times
}

@test "cp -a within the mount, mv of files and directories, rm -rf" {
	sample_tree "$plain"
	cp -a "$plain/." "$source"
	mount_fs
	shuffle() {
		cp -a a copy
		mv a/file1 renamed
		mv a/b moved
		mv renamed a/file2
		rm -rf copy/b
		rm dangling
		rmdir empty
		fails rmdir a 2>/dev/null
		ls -A
	}
	on_both shuffle
	assert_same_tree
	clear() { rm -rf ./* && ls -A; }
	on_both clear
	assert_same_tree
}

@test "tar packs the same archive and unpacks the same tree" {
	sample_tree "$plain"
	cp -a "$plain/." "$source"
	mount_fs
	# What reads and copies change (atime, ctime) is left out.
	pack() { tar --xattrs --pax-option=delete=atime,delete=ctime --sort=name -cf - . | sha256sum; }
	on_both pack
	unpack() { mkdir unpacked && tar --warning=no-timestamp --xattrs -C unpacked -xpf "$1"; }
	tar --xattrs -C "$plain" -cf "$top/sample.tar" .
	on_both unpack "$top/sample.tar"
	assert_same_tree
}

@test "find and grep see the same names, attributes and contents" {
	sample_tree "$plain"
	cp -a "$plain/." "$source"
	mount_fs
	look() {
		find . -type f -size +100k | sort
		find . -newermt 2000-01-01 -type l | sort
		find . -perm -4000
		find . -links +1 -type f | sort
		find . -inum "$(stat -c %i a/file2)" | sort
		grep -rc 1999 a --include='file*' | sort
		grep -rl 399999 . | sort
		find a ! -type d -printf '%M %n %U %G %s %t %p %l\n' | sort
		find a/b -type f -exec wc -c {} + | sort
	}
	on_both look
}

@test "dd writes at offsets, extends, leaves holes and reads back, also with O_DIRECT and O_SYNC" {
	mount_fs
	write() {
		seq 300000 >in
		dd if=in of=out bs=4093 status=none
		cmp in out
		dd if=in of=out bs=64k seek=20 count=3 conv=notrunc status=none
		dd if=in of=holes bs=4k seek=1000 count=1 status=none
		dd if=in of=sync bs=100k oflag=sync count=5 iflag=fullblock status=none
		dd if=in of=dsync bs=1M oflag=dsync conv=fsync,fdatasync status=none
		dd if=in of=append bs=1k count=3 status=none
		dd if=in of=append bs=1k count=3 oflag=append conv=notrunc status=none
		dd if=out bs=7 skip=5000 count=10000 status=none | sha256sum
		# tmpfs has had O_DIRECT since 6.6; where the backing lacks it the mount may have it all the same.
		dd if=/dev/zero of=direct bs=1M count=8 oflag=direct status=none
		dd if=in of=direct bs=64k count=1 seek=3 conv=notrunc iflag=fullblock oflag=direct status=none
		dd if=direct iflag=direct bs=1M status=none | sha256sum
		stat -c '%n %s' -- *
	}
	on_both write
	assert_same_tree
}

@test "truncate and fallocate change sizes and holes" {
	mount_fs
	resize() {
		seq 100000 >f
		truncate -s 1000 f
		truncate -s +5M f
		truncate -s 3G huge
		echo end >>huge
		truncate -s 0 empty
		fallocate -l 2M allocated
		seq 100000 >punched
		sync
		fallocate -p -o 65536 -l 131072 punched
		fallocate -z -o 300000 -l 100000 punched
		stat -c '%n %s' -- *
		tail -c 4 huge
		rm huge
	}
	on_both resize
	assert_same_tree
	# A hole is a hole in the backing file too.
	[ "$(stat -c %b "$source/punched")" -eq "$(stat -c %b "$plain/punched")" ]
}

@test "ln, chmod, chown and touch change attributes as on a plain directory" {
	mount_fs
	attributes() {
		seq 10 >f
		mkdir d
		ln f hard
		ln -s f soft
		ln -sfn d soft2
		chmod u=rwx,g=rx,o= f
		chmod 3777 d
		chown 1001:1002 f
		chown -h 1003:1004 soft
		touch -d '2001-02-03 04:05:06.789012345 UTC' hard
		touch -a -d '1999-09-09 UTC' d
		touch -h -m -d '1980-01-01 UTC' soft
		stat -c '%n %a %u:%g %h %s %F %y' f hard soft
		stat -c '%n %a %u:%g %h %F' soft2 d
		stat -c %X d
		readlink soft soft2
		fails chown 5 nothere
		fails ln f d/x/y
		fails mkdir d
	}
	on_both attributes
	# The times of what was not touched differ by the moment alone.
	assert_same_tree
}

@test "rsync -aHAX copies onto the mount and finds no difference afterwards" {
	sample_tree "$top/sample"
	setfacl -m u:12345:r "$top/sample/a/file9" 2>/dev/null || true
	# rsync leaves the time of a directory alone if it has the right second, as
	# one made just now would have.
	find "$top/sample" -depth -exec touch -h -d '2020-01-02 03:04:05.678901234' {} +
	mount_fs
	transfer() {
		rsync -aHAX --numeric-ids "$1/" .
		rsync -naiHAX --numeric-ids --checksum --delete "$1/" .
		rm -r a/b
		truncate -s 17 a/file9
		rsync -aHAX --numeric-ids --inplace --delete "$1/" .
		rsync -naiHAX --numeric-ids --checksum --delete "$1/" .
	}
	on_both transfer "$top/sample"
	assert_same_tree times
}

@test "the same files show through the mount when they are changed behind it" {
	mount_fs attr_timeout=0,entry_timeout=0
	echo one >"$source/f"
	[ "$(cat "$mnt/f")" = one ]
	echo 'two, longer' >"$source/f"
	[ "$(cat "$mnt/f")" = 'two, longer' ]
	echo three >"$source/g"
	mv "$source/g" "$source/f"
	[ "$(cat "$mnt/f")" = three ]
	rm "$source/f"
	fails cat "$mnt/f"
}

@test "df, stat -f and mount tell about the mount" {
	expect_no_io
	mount_fs
	[ "$(stat -f -c '%b %S %l' "$mnt")" = "$(stat -f -c '%b %S %l' "$source")" ]
	[ "$(findmnt -no FSTYPE "$mnt")" = fuse.uringfs ]
	[ "$(findmnt -no SOURCE "$mnt")" = "$source" ]
}

@test "-o ro refuses every change" {
	echo kept >"$source/f"
	mount_fs ro
	[ "$(cat "$mnt/f")" = kept ]
	for change in "rm $mnt/f" "touch $mnt/g" "mkdir $mnt/d" "chmod 600 $mnt/f" "truncate -s 0 $mnt/f" "ln $mnt/f $mnt/h"; do
		run $change
		[ "$status" -ne 0 ]
		[[ $output == *"Read-only file system"* ]]
	done
	[ "$(ls -A "$source")" = f ]
}
