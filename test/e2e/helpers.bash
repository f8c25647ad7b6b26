# shellcheck shell=bash
# What every e2e test stands on. A test gets three directories:
#
#   $plain  an ordinary directory, where everything is done for comparison
#   $source a second one on the same filesystem, which is
#   $mnt    mounted here
#
# and afterwards no mount, no process and no file descriptor may be left, and
# the reactor must have completed operations (a test whose mount carries no data
# says so with expect_no_io).

bats_require_minimum_version 1.5.0

setup() { make_directories; }

make_directories() {
  [ -z "${CANNOT_MOUNT:-}" ] || skip "$CANNOT_MOUNT"
  top=$(mktemp -d "$STORE/test.XXXXXX")
  plain=$top/plain source=$top/source mnt=$BATS_TEST_TMPDIR/mnt
  log=$BATS_TEST_TMPDIR/daemon.log
  mkdir "$plain" "$source" "$mnt"
  daemon='' expect_io=yes at_end=()
}

teardown() { check_and_clean; }

check_and_clean() {
  # Bats calls teardown for skipped tests too.
  [ -n "${top:-}" ] || return 0
  local failed=0
  if mountpoint -q "$mnt"; then
    [ "${BATS_TEST_COMPLETED:-}" = 1 ] || dump_daemon
    [ "$expect_io" = no ] || assert_reactor_used || failed=1
    assert_no_open_files || failed=1
    unmount || failed=1
  fi
  local undo
  for undo in "${at_end[@]}"; do
    $undo || failed=1
  done
  assert_nothing_left || failed=1
  chattr -R -i "$top" 2>/dev/null || true
  rm -rf "$top"
  return $failed
}

# mount_fs [OPTION...] mounts $source on $mnt in the background; each argument
# is an -o word.
mount_fs() {
  local options
  options=$(mount_options "$@")
  "$URINGFS" --log-file "$log" ${options:+-o "$options"} "$source" "$mnt" 3>&-
  daemon=$(daemon_of "$mnt")
  fds_at_start=$(open_files "$daemon")
}

# await_daemon waits until the mount that a command with -f makes on $mnt is
# ready. That it shows in the mount table is not enough: the daemon is not
# confined yet, and its control socket comes later.
await_daemon() {
  # shellcheck disable=SC2317 # called by await
  answers() { stats_of "$mnt" pid >/dev/null 2>&1; }
  await answers
  daemon=$(daemon_of "$mnt")
  fds_at_start=$(open_files "$daemon")
}

# mount_options WORD... joins them with those of the environment.
mount_options() {
  local IFS=,
  local words=(${URINGFS_TRANSPORT:+"transport=$URINGFS_TRANSPORT"} "$@")
  [ -z "${URINGFS_OPTIONS:-}" ] || words+=("$URINGFS_OPTIONS")
  echo "${words[*]}"
}

# unmount takes the mount off and waits until the daemon is gone.
unmount() {
  umount "$mnt" || {
    echo "held by:" >&2
    find /proc/[0-9]*/{cwd,root,fd} -lname "$mnt*" -printf '%p -> %l\n' >&2 2>/dev/null || true
    dump_daemon
    umount -l "$mnt"
    return 1
  }
  await_exit "$daemon"
}

# stats_of MOUNTPOINT FIELD prints a number that the daemon tells about itself.
# It does not touch the mount, so it works while that hangs.
stats_of() { "$URINGFS" stats --field "$2" "$1"; }

# is_mounted [MOUNTPOINT] looks in the mount table: mountpoint(1) takes a mount
# whose daemon is gone for none.
is_mounted() { awk -v m="${1:-$mnt}" '$2 == m {found = 1} END {exit !found}' /proc/mounts; }

# is_dead: nobody serves the mount any more. That is so a moment after the daemon's
# main thread has ended, when the last of its threads has; attributes may be cached
# for longer, which statfs(2) never is.
is_dead() { [[ $(timeout 1 stat -f "$mnt" 2>&1) == *"not connected"* ]]; }

# daemon_of MOUNTPOINT prints the process that serves it.
daemon_of() {
  stats_of "$1" pid
}

# await_exit PID... waits until the processes are gone.
await_exit() {
  local pid
  for pid in "$@"; do
    await is_gone "$pid" || {
      echo "process $pid is still there: $(tr '\0' ' ' <"/proc/$pid/cmdline")" >&2
      return 1
    }
  done
}

# is_gone PID: it has ended, even if init has not buried it yet.
is_gone() { ! grep -q '^State:.[^Z]' "/proc/$1/status" 2>/dev/null; }

# await COMMAND... repeats a command until it succeeds, for about a minute. Tries
# count and not seconds, so that a machine that stands still fails no test.
await() {
  local tries
  for ((tries = 0; tries < 1000; tries++)); do
    ! "$@" || return 0
    sleep 0.05
  done
  echo "in vain: $*" >&2
  return 1
}

# assert_reactor_used fails if no operation went through the reactor.
assert_reactor_used() {
  local n
  n=$(stats_of "$mnt" reactor.completed)
  [ "$n" -gt 0 ] || {
    echo "the reactor completed no operation: something bypasses it" >&2
    return 1
  }
}

expect_no_io() { expect_io=no; }

# at_end COMMAND runs a command (of single words) after the unmount at the end
# of the test, whether it passes or not.
at_end() { at_end+=("$*"); }

# open_files PID counts open files of a process. O_PATH descriptors do not count
# (their link has no permission bits): the daemon keeps one for every inode that
# the kernel remembers; nor do rings, sockets and the like.
open_files() { find "/proc/$1/fd" -lname '/*' ! -perm 000 | wc -l; }

# assert_no_open_files fails if the daemon holds more files than when it was
# mounted; RELEASE comes a moment after close(2), so it looks for a while.
assert_no_open_files() {
  [ -n "$daemon" ] && [ -d "/proc/$daemon" ] || return 0
  # shellcheck disable=SC2317 # called by await
  no_more_files() { [ "$(open_files "$daemon")" -le "$fds_at_start" ]; }
  await no_more_files || {
    echo "the daemon holds $(open_files "$daemon") files, $fds_at_start when it was mounted:" >&2
    ls -l "/proc/$daemon/fd" >&2
    return 1
  }
}

# assert_nothing_left fails, and cleans up, if a mount or a process of this
# test is still there.
assert_nothing_left() {
  local failed=0 dir pid
  # Of a mount namespace that has ended the daemon ends by itself, a moment later.
  # shellcheck disable=SC2317 # called by await
  none_run() { ! pgrep -f -- "$ours" >/dev/null; }
  local ours="^[^ ]*(uringfs|slowfs) .*$BATS_TEST_TMPDIR/|^$BATS_TEST_TMPDIR/[^ ]*uringfs "
  while read -r dir; do
    echo "still mounted: $dir" >&2
    umount -l "$dir"
    failed=1
  done < <(awk -v a="$BATS_TEST_TMPDIR/" -v b="$top/" 'index($2, a) == 1 || index($2, b) == 1 {print $2}' /proc/mounts | tac)
  await none_run || failed=1
  while read -r pid; do
    echo "still running: $(tr '\0' ' ' <"/proc/$pid/cmdline")" >&2
    kill -KILL "$pid"
  done < <(pgrep -f -- "$ours")
  return $failed
}

# dump_daemon shows what the daemon said, for the report of a failed test.
dump_daemon() {
  [ ! -s "$log" ] || { echo "--- the daemon's log:" && tail -n 30 "$log"; } >&2
}

# in_dir DIR FUNCTION [ARGUMENT...] runs a function of the test with DIR as the
# working directory, stopping at the first command that fails.
in_dir() {
  local dir=$1 fn=$2
  shift 2
  # shellcheck disable=SC2163 # the name is in the variable
  export -f "$fn"
  bash -euo pipefail -c 'cd "$1"; shift; "$@"' _ "$dir" "$fn" "$@"
}

# fails COMMAND... succeeds if the command does not, which "!" alone does not do
# under set -e.
fails() {
  if "$@"; then
    echo "succeeds, but should not: $*" >&2
    return 1
  fi
}
export -f fails

# on_both FUNCTION [ARGUMENT...] runs it in the plain directory and on the mount
# and fails unless both succeed with the same output.
on_both() {
  in_dir "$plain" "$@" >"$BATS_TEST_TMPDIR/out.plain" 2>&1 || {
    echo "fails on the plain directory:" >&2
    cat "$BATS_TEST_TMPDIR/out.plain" >&2
    return 1
  }
  in_dir "$mnt" "$@" >"$BATS_TEST_TMPDIR/out.mnt" 2>&1 || {
    echo "fails on the mount:" >&2
    cat "$BATS_TEST_TMPDIR/out.mnt" >&2
    return 1
  }
  diff -u "$BATS_TEST_TMPDIR/out.plain" "$BATS_TEST_TMPDIR/out.mnt"
}

# manifest DIR [times] describes everything below DIR: type, mode, owner, links,
# size, target, extended attributes, contents and, if asked for, mtime.
# Sizes of directories are the backing filesystem's own affair.
manifest() (
  cd "$1" || return 1
  local format='%P\t%y\t%m\t%U:%G\t%n\t'
  find . -mindepth 1 \( -type d -printf "$format-\t${2:+%T@}\n" -o -printf "$format%s\t%l\t${2:+%T@}\n" \) | LC_ALL=C sort
  find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
  find . -print0 | LC_ALL=C sort -z | xargs -0r getfattr -h -d -m '^(user|system|security|trusted)\.' -- 2>/dev/null
)

# assert_same_tree [times] fails unless the plain directory, the mount and its
# backing directory hold the same.
assert_same_tree() {
  manifest "$plain" "$@" >"$BATS_TEST_TMPDIR/manifest.plain"
  manifest "$mnt" "$@" >"$BATS_TEST_TMPDIR/manifest.mnt"
  manifest "$source" "$@" >"$BATS_TEST_TMPDIR/manifest.source"
  diff -u "$BATS_TEST_TMPDIR/manifest.plain" "$BATS_TEST_TMPDIR/manifest.mnt"
  diff -u "$BATS_TEST_TMPDIR/manifest.plain" "$BATS_TEST_TMPDIR/manifest.source"
}

# sample_tree DIR fills DIR with some of everything: nested directories, small,
# large, empty and sparse files, links, a pipe, odd names, modes and times.
sample_tree() {
  local i
  mkdir -p "$1/a/b/c/d" "$1/empty" "$1/"$'odd \n name'
  for i in $(seq 40); do
    seq "$i" $((i * 50)) >"$1/a/file$i"
  done
  seq 400000 >"$1/a/b/large"
  : >"$1/a/b/c/nothing"
  truncate -s 10M "$1/a/b/sparse"
  echo tail >>"$1/a/b/sparse"
  echo odd >"$1/"$'odd \n name/ \t\xff\xfe'
  ln -s ../file1 "$1/a/b/link"
  ln -s nowhere "$1/dangling"
  ln "$1/a/file2" "$1/a/b/hardlink"
  mkfifo "$1/a/pipe"
  chmod 4755 "$1/a/file3"
  chmod 2770 "$1/a/b/c"
  chmod 000 "$1/a/file4"
  chown 12345:54321 "$1/a/file5"
  touch -d '1969-07-20 20:17:40.123456789 UTC' "$1/a/file6"
  touch -h -d '2100-01-01 UTC' "$1/dangling"
  setfattr -n user.note -v 'kept' "$1/a/file7"
}
