#!/usr/bin/env bats
# Mounting as an ordinary user, through fusermount3.

# shellcheck disable=SC2016 # expanded by the shells that are started

load helpers

# as_user COMMAND runs a shell command as nobody, in a namespace where /dev/fuse
# is as open as udev makes it, whatever this machine's is.
as_user() {
	local home=$BATS_TEST_TMPDIR/home
	mkdir -p "$home/node" "$home/source" "$home/mnt" "$home/run"
	chown -R 65534:65534 "$home"
	chmod a+x "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/.." "$BATS_TEST_TMPDIR/../.." "$BATS_TEST_TMPDIR/../../.." 2>/dev/null || true
	HOME=$home XDG_RUNTIME_DIR=$home/run FUSE_CONF=${1:-} unshare -m --propagation private bash -euo pipefail -c '
		mount -t tmpfs -o mode=755 tmpfs "$HOME/node"
		mknod -m 666 "$HOME/node/fuse" c 10 229
		mount --bind "$HOME/node/fuse" /dev/fuse
		if [ -n "$FUSE_CONF" ]; then
			echo "$FUSE_CONF" >"$HOME/node/fuse.conf"
			mount --bind "$HOME/node/fuse.conf" /etc/fuse.conf
		fi
		cp "$URINGFS" "$HOME/node/uringfs"
		export URINGFS=$HOME/node/uringfs
		cd "$HOME"
		exec timeout 300 setpriv --reuid 65534 --regid 65534 --clear-groups bash -euo pipefail -c "$0"' "$2"
}

@test "an ordinary user mounts, works and unmounts" {
	expect_no_io
	as_user '' '
		"$URINGFS" source mnt
		grep "$HOME/mnt" /proc/mounts | grep -q "nosuid,nodev.*user_id=65534"
		seq 1000 >mnt/f
		cmp mnt/f source/f
		mkdir mnt/d && mv mnt/f mnt/d/ && chmod 600 mnt/d/f
		[ "$(stat -c "%u %a" source/d/f)" = "65534 600" ]
		[ "$("$URINGFS" stats --field reactor.completed mnt)" -gt 0 ]
		pid=$("$URINGFS" stats --field pid mnt)
		"$URINGFS" umount mnt
		fails grep "^State:.[^Z]" /proc/$pid/status'
}

@test "root asks for the counters of another user's mount" {
	expect_no_io
	as_user '' '
		unset XDG_RUNTIME_DIR
		"$URINGFS" source mnt
		seq 1000 >mnt/f
		"$URINGFS" stats --field pid mnt >pid
		until [ -e asked ]; do sleep 0.05; done
		"$URINGFS" umount mnt' 3>&- &
	local user=$! home=$BATS_TEST_TMPDIR/home pid
	await test -s "$home/pid"
	# In the user's mount namespace, for the mount table.
	pid=$(cat "$home/pid")
	run -0 nsenter -t "$pid" -m "$URINGFS" stats --field reactor.completed "$home/mnt"
	touch "$home/asked"
	[ "$output" -gt 0 ]
	wait $user
}

@test "SIGTERM ends the mount of an ordinary user" {
	expect_no_io
	as_user '' '
		"$URINGFS" -f source mnt 2>log &
		until mountpoint -q mnt; do sleep 0.05; done
		exec 8>mnt/held
		kill -TERM %1
		until grep -q "mount is busy" log; do sleep 0.05; done
		exec 8>&-
		wait %1
		fails mountpoint -q mnt'
}

@test "allow_other takes user_allow_other in /etc/fuse.conf" {
	expect_no_io
	as_user '# nothing' '
		code=0
		"$URINGFS" -o allow_other source mnt 2>err || code=$?
		[ $code -eq 14 ] && grep -q "hint: .*user_allow_other" err'
	as_user user_allow_other '
		"$URINGFS" -o allow_other source mnt
		grep "$HOME/mnt" /proc/mounts | grep -q allow_other
		"$URINGFS" umount mnt'
}

@test "mount flags of an ordinary user: those of fusermount3, and those without a meaning on FUSE" {
	expect_no_io
	as_user '' '
		"$URINGFS" -o ro,noexec,noatime,sync,dirsync,nodiratime,relatime,strictatime,lazytime source mnt
		grep "$HOME/mnt" /proc/mounts | grep -q "ro,sync,dirsync,nosuid,nodev,noexec,noatime"
		"$URINGFS" umount mnt
		for word in suid dev; do
			code=0
			"$URINGFS" -o $word source mnt 2>err || code=$?
			[ $code -eq 14 ] && grep -q "root alone" err && grep -q "hint: " err
			fails grep "$HOME/mnt" /proc/mounts
		done'
}

@test "a directory of others is refused as mountpoint" {
	expect_no_io
	as_user '' '
		code=0
		"$URINGFS" -o nonempty source /usr 2>err || code=$?
		[ $code -eq 14 ] && grep -q "hint: " err'
}

@test "what other users own cannot be touched through the mount" {
	expect_no_io
	mkdir -p "$BATS_TEST_TMPDIR/home/source/roots"
	echo secret >"$BATS_TEST_TMPDIR/home/source/roots/f"
	as_user '' 'true'
	chown -R 0:0 "$BATS_TEST_TMPDIR/home/source/roots"
	chmod 600 "$BATS_TEST_TMPDIR/home/source/roots/f"
	chmod 700 "$BATS_TEST_TMPDIR/home/source/roots"
	# as_user would chown again; the source is a second one.
	mkdir "$BATS_TEST_TMPDIR/second"
	cp -a "$BATS_TEST_TMPDIR/home/source/roots" "$BATS_TEST_TMPDIR/second/"
	chmod 755 "$BATS_TEST_TMPDIR/second"
	SECOND=$BATS_TEST_TMPDIR/second as_user '' '
		"$URINGFS" "$SECOND" mnt
		fails cat mnt/roots/f
		fails ls mnt/roots
		fails touch mnt/new
		"$URINGFS" umount mnt'
}
