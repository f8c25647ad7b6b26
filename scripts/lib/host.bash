# shellcheck shell=bash
# What the scripts ask of the host: Debian packages, root, FUSE and io_uring.
# Sourced; the caller has set -eu.

# as_root runs a command as root, through sudo where we are not.
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

# need_packages COMMAND=PACKAGE... installs each Debian package whose command
# (or file, if it begins with /) is missing. Quiet unless it fails.
need_packages() {
  local word missing=() log
  for word in "$@"; do
    case ${word%%=*} in
      /*) [ -e "${word%%=*}" ] || missing+=("${word#*=}") ;;
      *) command -v "${word%%=*}" >/dev/null || missing+=("${word#*=}") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]}" >&2
    echo "hint: install these packages; only Debian's apt-get is known here" >&2
    return 1
  fi
  echo "installing ${missing[*]}" >&2
  log=$(mktemp)
  if ! { as_root apt-get update -qq &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# need_go fails unless a Go toolchain is there (an older one fetches what
# go.mod asks for by itself).
need_go() {
  command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
  if ! command -v go >/dev/null; then
    echo "no Go toolchain" >&2
    echo "hint: install one from https://go.dev/dl/ or with apt-get install golang" >&2
    return 1
  fi
}

# missing_kernel_features prints a line for each thing that a mount cannot do
# without and that this host does not give; nothing if all is well.
missing_kernel_features() {
  [ -c /dev/fuse ] || as_root modprobe fuse 2>/dev/null || true
  [ -c /dev/fuse ] || echo "no /dev/fuse (hint: modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN)"
  local disabled=/proc/sys/kernel/io_uring_disabled
  if [ -r $disabled ] && [ "$(cat $disabled)" -ne 0 ]; then
    echo "kernel.io_uring_disabled=$(cat $disabled) (hint: sysctl kernel.io_uring_disabled=0)"
  elif ! grep -q ' __x64_sys_io_uring_setup$\| __arm64_sys_io_uring_setup$\| sys_io_uring_setup$' /proc/kallsyms 2>/dev/null; then
    echo "no io_uring in this kernel"
  fi
}

# require_kernel_features strict|lenient stops with status 1 and the reasons
# where something is missing. Lenient only warns, unless CI=true.
require_kernel_features() {
  local missing
  missing=$(missing_kernel_features)
  [ -n "$missing" ] || return 0
  echo "$missing" >&2
  if [ "${CI:-}" = true ] || [ "$1" = strict ]; then
    return 1
  fi
  echo "tests that need it will be skipped" >&2
}
