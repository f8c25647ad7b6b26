# shellcheck shell=bash
# Runs once around all .bats files: programs, backing and transport.
#
# Environment, all optional:
#   URINGFS            the binary to test (default: built from this checkout)
#   URINGFS_TRANSPORT  dev or uring: passed on as -o transport=…; uring switches
#                      the kernel's parameter on and back off afterwards
#   URINGFS_OPTIONS    further -o words for every mount
#   URINGFS_BACKING    dir (default), or xfs, ext4, btrfs, tmpfs: an image in memory
#   CI=true            what cannot run here fails instead of being skipped

setup_suite() {
  set -eu
  local repo
  repo=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
  # shellcheck source=scripts/lib/host.bash
  . "$repo/scripts/lib/host.bash"
  # shellcheck source=scripts/lib/image.bash
  . "$repo/scripts/lib/image.bash"
  need_go

  export REPO=$repo BIN=$BATS_SUITE_TMPDIR/bin
  mkdir -p "$BIN"
  if [ -z "${URINGFS:-}" ]; then
    "$repo/scripts/build"
    export URINGFS=$repo/bin/uringfs
  fi
  (cd "$repo" && go build -o "$BIN/" ./test/slowfs ./test/filecheck)

  CANNOT_MOUNT=$(missing_kernel_features)
  [ "$(id -u)" -eq 0 ] || CANNOT_MOUNT+="not root"
  export CANNOT_MOUNT
  if [ -n "$CANNOT_MOUNT" ]; then
    [ "${CI:-}" != true ] || { echo "$CANNOT_MOUNT" >&2 && return 1; }
    return 0
  fi

  export STORE=$BATS_SUITE_TMPDIR/image/fs # all backing directories lie below it
  case ${URINGFS_BACKING:-dir} in
    dir) mkdir -p "$STORE" ;;
    *) make_image "$URINGFS_BACKING" "$BATS_SUITE_TMPDIR/image" 2048 ;;
  esac
  ENABLE_URING_WAS=$(cat /sys/module/fuse/parameters/enable_uring 2>/dev/null || true)
  export ENABLE_URING_WAS
  if [ "${URINGFS_TRANSPORT:-}" = uring ]; then
    echo Y >/sys/module/fuse/parameters/enable_uring
  fi
}

teardown_suite() {
  [ -z "${ENABLE_URING_WAS:-}" ] || echo "$ENABLE_URING_WAS" >/sys/module/fuse/parameters/enable_uring
  [ -z "${STORE:-}" ] || [ "${URINGFS_BACKING:-dir}" = dir ] || drop_image "$BATS_SUITE_TMPDIR/image"
}
