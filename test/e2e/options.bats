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

@test "words for other programs are ignored" {
	expect_no_io
	mount_fs defaults noauto nofail _netdev user x-systemd.requires=/ comment=hello async_read big_writes
	mountpoint "$mnt"
}

@test "unknown words are named, with the nearest one" {
	refused 'unknown option "alow_other"' '"allow_other"' ro alow_other
	refused 'unknown option "max_wirte"' 'max_write=BYTES' max_wirte=1M
	refused 'unknown option "readirplus"' 'readdirplus=auto|on|off' readirplus=on
	refused 'unknown option "zzzzzzzzzz"' 'help options' zzzzzzzzzz
}

@test "every word with a value refuses nonsense in one line with a hint" {
	local form name
	while read -r form; do
		name=${form%%=*}
		case $name in fsname | subtype | comment | context) continue ;; esac
		refused "$name=rubbish" "$name=" "$name=rubbish"
		refused "\"$name\" needs a value" "$name=" "$name"
	done < <("$URINGFS" help options | awk '$1 ~ /^[a-z_]+=/ {print $1}')
}

@test "words without a value refuse one" {
	refused '"ro" takes no value' 'write ro' ro=yes
	refused '"allow_other" takes no value' 'write allow_other' allow_other=1
}

@test "what cannot be had is refused with the reason" {
	refused 'allow_root' 'allow_other' allow_root
	refused 'bind mount' 'mount --bind' bind
	refused 'smaller buffers crash the kernel' 'transport=dev' transport=uring max_write=64K
	refused 'max_write=512' '' max_write=512 || [[ $stderr == *"below the page size"* ]]
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
}
