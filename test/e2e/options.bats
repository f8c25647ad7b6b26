#!/usr/bin/env bats
# The -o words: what reaches the kernel, what reaches the tree, what is refused.

load helpers

# mounted_with WORD fails unless the mount table shows the word.
mounted_with() {
	local words
	words=$(awk -v m="$mnt" '$2 == m {print $4}' /proc/mounts)
	[[ ,$words, == *,"$1",* ]] || {
		echo "not mounted with $1 but $words" >&2
		return 1
	}
}

# refused TEXT HINT WORD... fails unless the words are refused with status 1, one
# line that holds TEXT and one hint that holds HINT.
refused() {
	local text=$1 hint=$2 words
	shift 2
	words=$(IFS=, && echo "$*")
	run -1 --separate-stderr "$URINGFS" -o "$words" "$source" "$mnt"
	# shellcheck disable=SC2154 # set by run
	[[ ${stderr_lines[0]} == "uringfs: "*"$text"* && ${stderr_lines[1]} == "hint: "*"$hint"* && ${#stderr_lines[@]} -eq 2 ]] || {
		echo "said: $stderr" >&2
		return 1
	}
	fails is_mounted
}

@test "flags of mount(8) reach the kernel" {
	expect_no_io
	mount_fs ro noexec noatime nodiratime nosymfollow
	for word in ro noexec noatime nodiratime nosymfollow nosuid nodev; do
		mounted_with "$word"
	done
	fails touch "$mnt/f"
}

@test "suid and dev are off unless asked for" {
	expect_no_io
	mount_fs suid dev
	fails mounted_with nosuid
	fails mounted_with nodev
}

@test "noexec keeps programs from being run, exec lets them" {
	cp /bin/true "$source/true"
	mount_fs noexec
	run "$mnt/true"
	[ "$status" -eq 126 ]
	unmount
	mount_fs noexec exec
	"$mnt/true"
}

@test "noatime leaves the access times of the source alone" {
	echo x >"$source/f"
	touch -a -d '2001-01-01' "$source/f"
	mount_fs noatime
	cat "$mnt/f"
	[ "$(stat -c %X "$source/f")" -eq "$(date -d 2001-01-01 +%s)" ]
}

@test "fsname and subtype are shown by df and findmnt, commas included" {
	expect_no_io
	mount_fs 'fsname=my\, data' subtype=uringfs
	[ "$(findmnt -n -o SOURCE,FSTYPE "$mnt" | tr -s ' ')" = "my, data fuse.uringfs" ]
}

@test "allow_other lets other users in and brings default_permissions along" {
	echo open >"$source/open"
	echo secret >"$source/secret"
	chmod 644 "$source/open"
	chmod 600 "$source/secret"
	chmod 755 "$source" "$top"
	mount_fs allow_other
	mounted_with allow_other
	mounted_with default_permissions
	# A path that nobody can walk: from inside.
	cat "$mnt/secret"
	run setpriv --reuid 65534 --regid 65534 --clear-groups bash -c 'cd /proc/self/fd/9 && cat open && ! cat secret' 9<"$mnt"
	[ "$status" -eq 0 ]
}

@test "without allow_other even root's other users are kept out" {
	expect_no_io
	mount_fs
	chmod 755 "$source"
	run setpriv --reuid 65534 --regid 65534 --clear-groups ls /proc/self/fd/9 9<"$mnt"
	[ "$status" -ne 0 ]
}

@test "max_write bounds the requests that the daemon sees" {
	mount_fs max_write=128K
	mounted_with max_read=131072
	dd if=/dev/zero of="$mnt/f" bs=1M count=4 oflag=direct status=none
	[ "$(stats_of "$mnt" reactor.completed)" -ge 32 ]
}

@test "entry, attribute and negative timeouts are what was asked for" {
	expect_no_io
	mount_fs attr_timeout=1000 entry_timeout=1000 negative_timeout=1000
	fails stat "$mnt/later"
	echo x >"$source/now"
	stat "$mnt/now"
	echo behind >"$source/later"
	fails stat "$mnt/later"
	chmod 700 "$source/now"
	[ "$(stat -c %a "$mnt/now")" = 644 ]
	unmount
	mount_fs attr_timeout=0 entry_timeout=0
	stat "$mnt/later"
	chmod 711 "$source/now"
	[ "$(stat -c %a "$mnt/now")" = 711 ]
}

@test "words for other programs are ignored, one by one and all together" {
	expect_no_io
	local word words=()
	while read -r word; do
		words+=("${word/=[A-Z]*/=1}")
	done < <("$URINGFS" help options | sed '1,/^Accepted and ignored:/d' | tr ' ' '\n' | grep .)
	[ ${#words[@]} -gt 30 ]
	for word in "${words[@]}" user=bob x-systemd.requires=/ x-gvfs-show X-mount.mkdir=0755 defaults; do
		"$URINGFS" -o "remount,$word" "$source" "$mnt" 2>"$top/err" && return 1
		grep -q 'not a mountpoint' "$top/err"
	done
	mount_fs "${words[@]}" user=bob x-systemd.requires=/ x-gvfs-show X-mount.mkdir=0755 defaults
	mountpoint "$mnt"
}

@test "sync has every write followed by an fsync" {
	mount_fs sync
	local before
	before=$(stats_of "$mnt" reactor.completed)
	dd if=/dev/zero of="$mnt/f" bs=4k count=10 status=none
	[ "$(stats_of "$mnt" reactor.completed)" -ge $((before + 20)) ]
}

@test "unknown words are named, with the nearest one" {
	refused 'unknown option "alow_other"' '"allow_other"' ro alow_other
	refused 'unknown option "max_wirte"' 'max_write=BYTES' max_wirte=1M
	refused 'unknown option "readirplus"' 'readdirplus=auto|on|off' readirplus=on
	refused 'unknown option "zzzzzzzzzz"' 'help options' zzzzzzzzzz
	refused 'unknown option "a"' 'help options' a=b
	refused '"=x" has no name' 'help options' =x
}

@test "every word with a value refuses nonsense in one line with a hint" {
	local form name
	while read -r form; do
		name=${form%%=*}
		refused "\"$name\" needs a value" "$name=" "$name"
		refused "\"$name\" needs a value" "$name=" "$name="
		case $name in fsname | subtype) continue ;; esac
		refused "$name=rubbish" "$name=" "$name=rubbish"
		refused "$name=-1" "$name=" "$name=-1"
	done < <("$URINGFS" help options | awk '$1 ~ /^[a-z_]+=/ {print $1}')
}

@test "every word without a value refuses one" {
	local name
	while read -r name; do
		refused "\"$name\" takes no value" "write $name" "$name=yes"
	done < <("$URINGFS" help options | awk '/^Accepted/ {exit} /^  [a-z_]+ / {print $1}')
}

@test "values out of range are refused with the range and what to write" {
	local word text
	while read -r word text; do
		refused "$text" '' "$word"
	done <<-'END'
		max_write=512 below the page size
		max_write=1G above the kernel's most
		max_read=512 below the page size
		max_read=9223372036854775807 above the kernel's most
		max_write=99999999999999999999 not a size
		max_write=0 must be more than 0
		max_background=65536 not between 1 and 65535
		max_background=1.5 not a count
		congestion_threshold=257 above max_background=256
		uring_depth=65536 not between 1 and 65535
		workers=32769 more than 32768
		attr_timeout=NaN not a time
		io_timeout=1e400 not a time
		drain_timeout=5s5 not a time
		subtype=a/b cannot show
	END
	refused "longer than 4095 bytes" 'shorten' "fsname=$(head -c 4096 /dev/zero | tr '\0' x)"
	refused "cannot show" 'letters' fsname=$'a\nb'
}

@test "what cannot be had is refused with the reason" {
	local word
	for word in allow_root fd=3 rootmode=40000 user_id=0 group_id=0 blkdev blksize=512 bind rbind move loop splice_read sync_read \
		modules=subdir uid=1 gid=1 umask=022 fmask=022 dmask=022 noforget remember=1 setuid=bob max_threads=1 max_idle_threads=1 \
		drop_privileges io_uring io_uring_q_depth=8 nolocalcaches context=a fscontext=a defcontext=a rootcontext=a; do
		refused "option \"${word%%=*}\": " '' "$word"
	done
	refused 'allow_root' 'allow_other' allow_root
	refused 'bind mount' 'mount --bind' bind
	refused 'smaller buffers crash the kernel' 'transport=dev' transport=uring max_write=64K
	refused 'ACLs are kept in extended attributes' 'leave one out' acl noxattr
	refused 'direct_io and writeback_cache' 'leave one out' direct_io writeback_cache
}

@test "remount changes the flags of a running mount" {
	expect_no_io
	mount_fs
	"$URINGFS" -o remount,ro,noexec "$source" "$mnt"
	mounted_with ro
	mounted_with noexec
	fails touch "$mnt/f"
	"$URINGFS" -o remount,rw "$source" "$mnt"
	touch "$mnt/f"
	mounted_with noexec # what is not named stays
	mounted_with nosuid
}
