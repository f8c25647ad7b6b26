package mount

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Check refuses a source and a mountpoint that cannot be mounted so, without
// changing anything. New does the same; a caller that has costly things to
// prepare in between can ask first. An empty source is not checked.
func Check(source, mountpoint string, o Options) error {
	if source != "" {
		if err := checkSource(source); err != nil {
			return err
		}
	}
	err := checkMountpoint(mountpoint)
	stale := errors.Is(err, ErrStale)
	if err != nil && !(stale && o.Recover) {
		return err
	}
	if source != "" {
		if err := checkContains(source, mountpoint); err != nil {
			return err
		}
	}
	if o.NonEmpty || stale {
		// What lies below a stale mount is looked at after it is gone.
		return nil
	}
	return checkEmpty(mountpoint)
}

func checkSource(source string) error {
	var st unix.Stat_t
	err := unix.Stat(source, &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return &Error{kind: ErrSource, msg: fmt.Sprintf("source %q", source), cause: err,
			hint: "the arguments are SOURCE MOUNTPOINT, in this order"}
	case errors.Is(err, unix.ENOTCONN):
		return &Error{kind: ErrSource, msg: fmt.Sprintf("source %q is a mount whose daemon is gone", source), cause: err,
			hint: "unmount it first: fusermount3 -u " + source}
	case err != nil:
		return &Error{kind: ErrSource, msg: fmt.Sprintf("source %q", source), cause: err}
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return &Error{kind: ErrSource, msg: fmt.Sprintf("source %q is not a directory", source)}
	}
	return nil
}

func checkMountpoint(mountpoint string) error {
	var st unix.Stat_t
	err := unix.Stat(mountpoint, &st)
	switch {
	case errors.Is(err, unix.ENOENT):
		return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q", mountpoint), cause: err,
			hint: "mkdir -p " + mountpoint}
	case errors.Is(err, unix.ENOTCONN):
		return &Error{kind: ErrStale, msg: fmt.Sprintf("mountpoint %q is stale: its daemon is gone", mountpoint), cause: err,
			hint: fmt.Sprintf("clean it with \"uringfs umount %s\", or mount with -o recover", mountpoint)}
	case err != nil:
		return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q", mountpoint), cause: err}
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q is not a directory", mountpoint)}
	}
	return nil
}

// checkEmpty keeps a slip of the hand from hiding a directory full of files. A
// directory that may not be read counts as empty.
func checkEmpty(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	if _, err := f.Readdirnames(1); errors.Is(err, io.EOF) {
		return nil
	}
	hint := "mount over it with -o nonempty; its files are hidden meanwhile"
	if abs, err := resolve(dir); err == nil {
		if i, ok, err := At(abs); err == nil && ok && i.Fuse() {
			hint = fmt.Sprintf("%s of %s is mounted there already: \"uringfs umount %s\"", i.Type, i.Source, dir)
		}
	}
	return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q is not empty", dir), hint: hint}
}

// checkContains walks from the mountpoint to the root and refuses if it comes
// through the source. Directories are compared by device and inode, so symbolic
// links and bind mounts cannot hide one in the other.
func checkContains(source, mountpoint string) error {
	var src unix.Stat_t
	if err := unix.Stat(source, &src); err != nil {
		return &Error{kind: ErrSource, msg: fmt.Sprintf("source %q", source), cause: err}
	}
	dir, err := resolve(mountpoint)
	if err != nil {
		// A stale mountpoint cannot be resolved; its parent can.
		if dir, err = resolveParent(mountpoint); err != nil {
			return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q", mountpoint), cause: err}
		}
	}
	target := dir
	for {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err == nil && st.Dev == src.Dev && st.Ino == src.Ino {
			return &Error{kind: ErrDeadlock,
				msg: fmt.Sprintf("source %q contains the mountpoint %q: "+
					"the daemon would deadlock, waiting for itself when it walks into its own mount", source, mountpoint),
				hint: "choose a mountpoint outside the source"}
		}
		if dir == "/" {
			break
		}
		dir = filepath.Dir(dir)
	}
	resolved, err := resolve(source)
	if err != nil {
		return &Error{kind: ErrSource, msg: fmt.Sprintf("source %q", source), cause: err}
	}
	return checkPropagation(resolved, target)
}

// Resolve returns path, made absolute and free of symbolic links.
func Resolve(path string) (string, error) { return resolve(path) }

// resolve returns the absolute path without symbolic links.
func resolve(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// resolveParent resolves all but the last element of path, which may be a mount
// that does not answer.
func resolveParent(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}
