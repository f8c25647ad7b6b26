#!/usr/bin/env bats
# mount(8) and /etc/fstab, in a mount namespace of the test's own, so that the
# helper and the table are not the machine's.

# shellcheck disable=SC2016 # expanded by the shells that are started

load helpers

# with_helper COMMAND runs a shell command in a namespace where mount(8) finds
# our helpers, and /etc/fstab has one line.
with_helper() {
	local dir=$BATS_TEST_TMPDIR/sbin
	mkdir -p "$dir"
	echo "$source $mnt fuse.uringfs noauto,allow_other,noatime,x-systemd.automount 0 0" >"$dir/fstab"
	HELPER_DIR=$dir unshare -m --propagation private bash -euo pipefail -c '
		mkdir "$HELPER_DIR/upper" "$HELPER_DIR/work" 2>/dev/null || true
		mount -t tmpfs tmpfs "$HELPER_DIR/work"
		mkdir "$HELPER_DIR/work/up" "$HELPER_DIR/work/w"
		# Symbolic links resolve /sbin to /usr/sbin on merged systems.
		sbin=$(readlink -f /sbin)
		mount -t overlay overlay -o "lowerdir=$sbin,upperdir=$HELPER_DIR/work/up,workdir=$HELPER_DIR/work/w" "$sbin"
		ln -s "$URINGFS" "$sbin/mount.fuse.uringfs"
		ln -s "$URINGFS" "$sbin/mount.uringfs"
		mount --bind "$HELPER_DIR/fstab" /etc/fstab
		'"$1"
}

setup() {
	make_directories
	[ -f /etc/fstab ] || skip "no /etc/fstab to cover"
	export source mnt top
}

@test "mount -t fuse.uringfs and -t uringfs" {
	expect_no_io
	echo here >"$source/f"
	with_helper '
		for type in fuse.uringfs uringfs; do
			mount -t $type -o ro,noexec "$source" "$mnt"
			grep -q here "$mnt/f"
			grep " $mnt " /proc/mounts | grep -q "fuse.uringfs ro,.*noexec"
			umount "$mnt"
		done'
}

@test "a line in /etc/fstab: mount, remount, umount by mountpoint" {
	expect_no_io
	echo here >"$source/f"
	with_helper '
		mount "$mnt"
		grep -q here "$mnt/f"
		grep " $mnt " /proc/mounts | grep -q "allow_other"
		mount -o remount,ro "$mnt"
		fails touch "$mnt/f"
		grep -q here "$mnt/f"
		umount "$mnt"'
}

@test "mount -o remount with the mountpoint alone changes what it names" {
	expect_no_io
	with_helper '
		has() { findmnt -no OPTIONS -- "$mnt" | tr , "\n" | grep -qx "$1"; }
		mount -t fuse.uringfs -o allow_other,nosuid,nodev "$source" "$mnt"
		mount -o remount,ro,noexec "$mnt"
		fails touch "$mnt/f"
		has noexec && has nosuid && has nodev && has allow_other
		mount -o remount,rw,dev "$mnt"
		touch "$mnt/f"
		has noexec && has nosuid && fails has nodev
		umount "$mnt"'
}

@test "suid and dev are the default of mount(8), as far as the mount of the source has them" {
	expect_no_io
	with_helper '
		words() { awk -v m="$mnt" "\$2 == m {print \",\" \$4 \",\"}" /proc/mounts; }
		mount -t fuse.uringfs "$source" "$mnt"
		[[ $(words) != *,nosuid,* && $(words) != *,nodev,* ]]
		umount "$mnt"
		mount -t fuse.uringfs -o nosuid,nodev "$source" "$mnt"
		[[ $(words) == *,nosuid,* && $(words) == *,nodev,* ]]
		umount "$mnt"
		mount --bind -o nosuid "$source" "$source"
		mount -t fuse.uringfs "$source" "$mnt"
		[[ $(words) == *,nosuid,* && $(words) != *,nodev,* ]]
		umount "$mnt"'
}

@test "mount -a mounts once, and umount -a -t fuse.uringfs takes it off" {
	expect_no_io
	with_helper '
		echo "$source $mnt fuse.uringfs defaults,nofail,_netdev,x-systemd.automount,x-gvfs-show,comment=hello,relatime,sync,dirsync 0 0" >/etc/fstab
		# Mounts of others are not to be waited for: these are copies of them.
		while read -r _ other type _; do
			[ "$type" != fuse.uringfs ] || umount -l "$other"
		done < <(tac /proc/mounts)
		mount -a
		mount -a
		[ "$(grep -c " $mnt " /proc/mounts)" -eq 1 ]
		umount -a -t fuse.uringfs
		fails grep " $mnt " /proc/mounts'
}

@test "a user mounts what /etc/fstab lets users mount, and unmounts it" {
	expect_no_io
	chmod a+x "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/.." "$BATS_TEST_TMPDIR/../.." "$BATS_TEST_TMPDIR/../../.." 2>/dev/null || true
	chmod 755 "$top" "$source"
	chown 65534:65534 "$mnt" "$source"
	with_helper '
		# As udev makes it, and where everybody may read it.
		mount -t tmpfs -o mode=755 tmpfs "$top"/plain
		mknod -m 666 "$top/plain/fuse" c 10 229
		mount --bind "$top/plain/fuse" /dev/fuse
		cp "$URINGFS" "$top/plain/uringfs"
		ln -sf "$top/plain/uringfs" "$sbin/mount.fuse.uringfs"
		user() { XDG_RUNTIME_DIR= setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
		# owner and group need the device of a real filesystem.
		for word in user users; do
			echo "$source $mnt fuse.uringfs noauto,$word 0 0" >/etc/fstab
			user mount "$mnt"
			awk -v m="$mnt" "\$2 == m {print \$4}" /proc/mounts | grep "nosuid,nodev,noexec.*user_id=65534"
			user touch "$mnt/f"
			[ -e "$source/f" ]
			user fusermount3 -u "$mnt"
		done'
}

@test "failures come back through mount(8), with its own exit code and our words" {
	expect_no_io
	with_helper '
		code=0
		mount -t fuse.uringfs -o alow_other "$source" "$mnt" 2>"$top/err" || code=$?
		[ $code -eq 1 ] && grep -q allow_other "$top/err"
		code=0
		mount -t fuse.uringfs "$top/missing" "$mnt" 2>"$top/err" || code=$?
		[ $code -eq 32 ] && grep -q "no such file" "$top/err"
		# -s passes over unknown words.
		mount -s -t fuse.uringfs -o alow_other "$source" "$mnt"
		umount "$mnt"
		# -f mounts nothing.
		mount -f -t fuse.uringfs "$source" "$mnt"
		fails mountpoint -q "$mnt"'
}
