#!/usr/bin/env bats
# Programs that lean on a filesystem: git, sqlite, the Go toolchain.

load helpers

# A repository with some history, made in $top/origin.
make_origin() {
	export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
	export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
	# What git does in the background would hold the mount busy.
	export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=gc.autoDetach GIT_CONFIG_VALUE_0=false
	export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
	git init -q -b main "$top/origin"
	for i in 1 2 3; do
		mkdir -p "$top/origin/dir$i"
		for j in $(seq 30); do
			seq "$i" $((j * 100)) >"$top/origin/dir$i/file$j"
		done
		git -C "$top/origin" add .
		git -C "$top/origin" commit -qm "commit $i"
	done
}

@test "git clones, commits, branches, merges, gcs and finds its repository sound" {
	make_origin
	mount_fs
	work() {
		git clone -q --no-hardlinks "$1" repo
		cd repo
		seq 5000 >new
		git mv dir1 renamed
		git add -A
		git commit -qm change
		git checkout -q -b side HEAD~1
		echo side >side
		git add side
		git commit -qm side
		git checkout -q main
		git merge -q -m merge side
		git status --porcelain
		git gc -q --prune=now
		git fsck --strict --no-progress
		git log --format='%H %s'
		git ls-files -s | sha256sum
		git stash list
		git worktree add -q ../second side
		git -C ../second status --porcelain
	}
	on_both work "$top/origin"
	[ -z "$(git -C "$source/repo" fsck --strict --no-progress)" ]
}

# sqlite_load JOURNAL_MODE: 3 writers at once, then a check.
sqlite_load() {
	sqlite3 db "PRAGMA journal_mode=$1; CREATE TABLE t (id INTEGER PRIMARY KEY, worker INT, v TEXT);"
	for w in 1 2 3; do
		for i in $(seq 15); do
			printf '%s\n' '.timeout 60000' 'BEGIN IMMEDIATE;' \
				"INSERT INTO t (worker, v) SELECT $w, hex(zeroblob(200)) FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<20) SELECT x FROM c);" \
				'COMMIT;'
		done | sqlite3 db &
		pids[w]=$!
	done
	for w in 1 2 3; do wait "${pids[w]}"; done
	sqlite3 db "PRAGMA integrity_check; SELECT worker, count(*) FROM t GROUP BY worker; PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA integrity_check;"
}

@test "sqlite with a rollback journal: three writers, then a sound database" {
	mount_fs
	on_both sqlite_load delete
	[ "$(sqlite3 "$source/db" 'SELECT count(*) FROM t')" -eq 900 ]
}

@test "sqlite in WAL mode (shared memory maps): three writers, then a sound database" {
	mount_fs
	on_both sqlite_load wal
	[ "$(sqlite3 "$source/db" 'SELECT count(*) FROM t')" -eq 900 ]
}

@test "sqlite recovers after a writer was killed" {
	mount_fs
	killed() {
		sqlite3 db "PRAGMA journal_mode=$1; CREATE TABLE t (v TEXT); INSERT INTO t VALUES ('kept');" >/dev/null
		mkfifo commands ready
		sqlite3 db <commands >ready &
		local writer=$! word
		exec 8>commands 9<ready
		# The writer changes pages on disk (its cache is tiny) and does not commit.
		echo 'PRAGMA cache_size=2; BEGIN; INSERT INTO t SELECT hex(zeroblob(4000)) FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<500) SELECT x FROM c);' >&8
		echo "SELECT 'written';" >&8
		read -r word <&9
		[ "$word" = written ]
		kill -KILL $writer
		wait $writer 2>/dev/null || true # the shell says who was killed
		exec 8>&- 9<&-
		rm commands ready
		sqlite3 db 'PRAGMA integrity_check; SELECT count(*) FROM t;'
	}
	on_both killed delete
	rm -f "$plain"/db* "$mnt"/db*
	on_both killed wal
}

@test "go build on the mount, cache and temporary files included, makes the same program" {
	mount_fs
	build() {
		mkdir -p src cache tmp
		cat >src/go.mod <<-'MOD'
			module example.org/hello

			go 1.25
		MOD
		cat >src/main.go <<-'GO'
			package main

			import "os"

			func main() { os.Stdout.WriteString("hello\n") }
		GO
		cd src
		GOFLAGS='-buildvcs=false -trimpath' GOCACHE=$PWD/../cache GOTMPDIR=$PWD/../tmp CGO_ENABLED=0 go build -o hello .
		./hello
		go vet .
		sha256sum hello
	}
	on_both build
}

# merged UPPER LOWER has overlayfs merge them and works in what comes of it.
# What is left is shown, with the upper directory as overlayfs keeps it.
merged() {
	local dir=$BATS_TEST_TMPDIR/merged
	mkdir -p "$1/up" "$1/work" "$dir"
	mount -t overlay -o "lowerdir=$2,upperdir=$1/up,workdir=$1/work" uringfs-overlay "$dir"
	(
		cd "$dir" || exit
		diff -r --no-dereference a/b "$2/a/b"
		echo changed >>a/file1
		rm a/file2
		mv a/file3 renamed
		chmod 604 a/file4
		setfattr -n user.note -v other a/file7
		ln a/file8 linked
		rm -r a/b
		mkdir a/b
		echo new >a/b/new
		mkdir d
		mv d e
		mv e a
		: >'tmp file'
		truncate -s 100 a/file9
		"$BIN/filecheck" -ops 200 -workers 2 -align 4096 . >&2
		find . -printf '%P %y %m %U:%G %n %l\n' | sort
		find . -type f -print0 | sort -z | xargs -0 sha256sum
		getfattr -d a/file7
	)
	umount "$dir"
	(cd "$1/up" && find . -printf '%P %y %m %U:%G %n %l\n' && getfattr -Rd -m 'overlay.opaque|user' .) | sort
}

@test "overlayfs takes a directory on the mount as its lower and as its upper" {
	grep -q overlay /proc/filesystems || modprobe overlay 2>/dev/null || skip "no overlayfs"
	# Not on $STORE: what overlayfs wants of an upper directory is not what this is about.
	local tmpfs=$top/tmpfs
	mkdir "$tmpfs"
	mount -t tmpfs uringfs-image "$tmpfs"
	at_end umount "$tmpfs"
	mkdir "$tmpfs"/{plain,source,upper,lower}
	sample_tree "$tmpfs/lower"
	# Set-id bits are lost when such a file is copied up (docs/CONFORMANCE.md).
	chmod 755 "$tmpfs/lower/a/file3"
	cp -a "$tmpfs/lower" "$tmpfs/source/lower"
	source=$tmpfs/source
	mount_fs suid,dev
	merged "$tmpfs/plain" "$tmpfs/lower" >"$BATS_TEST_TMPDIR/plain.out"
	merged "$tmpfs/upper" "$mnt/lower" >"$BATS_TEST_TMPDIR/lower.out"
	merged "$mnt" "$tmpfs/lower" >"$BATS_TEST_TMPDIR/upper.out"
	diff -u "$BATS_TEST_TMPDIR/plain.out" "$BATS_TEST_TMPDIR/lower.out"
	diff -u "$BATS_TEST_TMPDIR/plain.out" "$BATS_TEST_TMPDIR/upper.out"
	diff -r --no-dereference "$tmpfs/lower/a/b" "$mnt/lower/a/b"
}
