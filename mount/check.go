package mount

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

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
	err := checkMountpoint(mountpoint, o.NonEmpty)
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

// statWait bounds how long a directory may take to answer: disks spin up and
// network filesystems are mounted on demand, but a command that hangs tells nothing.
const statWait = 30 * time.Second

func stat(path string) (unix.Stat_t, error) {
	answer := make(chan unix.Stat_t, 1) // the one result
	err := bounded(statWait, func() error {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return err
		}
		answer <- st
		return nil
	})
	if err != nil {
		return unix.Stat_t{}, err
	}
	return <-answer, nil
}

func checkSource(source string) error {
	st, err := stat(source)
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

// checkMountpoint wants a directory that answers, and no FUSE mount that somebody
// serves on it, unless over says so. Such a mount may hang, and a process that asks
// it cannot even end then, so without need it is not asked.
func checkMountpoint(mountpoint string, over bool) error {
	if i, err := Find(mountpoint); err == nil {
		if err := checkMounted(i, mountpoint, over); err != nil {
			return err
		}
	}
	st, err := stat(mountpoint)
	switch {
	case errors.Is(err, unix.ENOENT):
		return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q", mountpoint), cause: err,
			hint: "mkdir -p " + mountpoint}
	case notConnected(err):
		return staleError(mountpoint, err)
	case err != nil:
		return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q", mountpoint), cause: err}
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q is not a directory", mountpoint)}
	}
	return nil
}

// checkMounted looks at the FUSE mount i on the mountpoint. That of a daemon which
// was killed answers when the last of its files is closed; its rings, which hold the
// connection, go some time after the process.
func checkMounted(i Info, mountpoint string, over bool) error {
	wait := statWait
	if i.served() {
		wait = deadWait
		if !over {
			return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q has a mount already: %s of %s", mountpoint, i.Type, i.Source),
				hint: fmt.Sprintf("take it off with \"uringfs umount %s\" (--force if it hangs), or mount over it with -o nonempty", mountpoint)}
		}
	}
	err := i.probe(wait)
	switch {
	case notConnected(err):
		return staleError(mountpoint, err)
	case errors.Is(err, unix.ETIMEDOUT):
		return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q: the mount that is there hangs", mountpoint),
			hint: fmt.Sprintf("take it off with \"uringfs umount --force %s\"", mountpoint)}
	}
	return nil
}

func staleError(mountpoint string, err error) error {
	return &Error{kind: ErrStale, msg: fmt.Sprintf("mountpoint %q is stale: its daemon is gone", mountpoint), cause: err,
		hint: fmt.Sprintf("clean it with \"uringfs umount %s\", or mount with -o recover", mountpoint)}
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
	return &Error{kind: ErrMountpoint, msg: fmt.Sprintf("mountpoint %q is not empty", dir),
		hint: "mount over it with -o nonempty; its files are hidden meanwhile"}
}

// checkContains walks from the mountpoint to the root and refuses if it comes
// through the source. Directories are compared by device and inode, so symbolic
// links and bind mounts cannot hide one in the other.
func checkContains(source, mountpoint string) error {
	src, err := stat(source)
	if err != nil {
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
		if st, err := stat(dir); err == nil && st.Dev == src.Dev && st.Ino == src.Ino {
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
