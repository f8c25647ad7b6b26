# shellcheck shell=bash
# Filesystem images in memory, for backings whose speed is not that of a disk.
# Sourced; needs as_root of host.bash.

# make_image TYPE DIR SIZE_MIB mounts a fresh TYPE filesystem (xfs, ext4, btrfs,
# tmpfs) of that size, lying in memory, on DIR/fs. The image file of the first
# three is on a tmpfs of its own on DIR/memory, behind a loop device.
make_image() {
  local type=$1 dir=$2 mib=$3
  mkdir -p "$dir/fs"
  if [ "$type" = tmpfs ]; then
    as_root mount -t tmpfs -o "size=${mib}m" uringfs-image "$dir/fs"
    return
  fi
  mkdir -p "$dir/memory"
  # Room for the image and for what tmpfs itself takes of it.
  as_root mount -t tmpfs -o "size=$((mib + 16))m" uringfs-image "$dir/memory"
  as_root truncate -s "${mib}M" "$dir/memory/image"
  case $type in
    xfs) as_root mkfs.xfs -q "$dir/memory/image" ;;
    ext4) as_root mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$dir/memory/image" ;;
    btrfs) as_root mkfs.btrfs -q "$dir/memory/image" ;;
    *) echo "image type $type is not known" >&2 && return 1 ;;
  esac
  # The loop device is freed by umount(8).
  as_root mount -o loop "$dir/memory/image" "$dir/fs"
}

# drop_image DIR undoes make_image, whole or half done.
drop_image() {
  local mnt
  for mnt in "$1/fs" "$1/memory"; do
    if mountpoint -q "$mnt"; then
      as_root umount "$mnt" || as_root umount -l "$mnt"
    fi
    [ ! -d "$mnt" ] || rmdir "$mnt"
  done
}
