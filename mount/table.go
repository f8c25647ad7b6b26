package mount

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Info is one line of the mount table.
type Info struct {
	// ID is the kernel's mount id, as in /proc/PID/fdinfo.
	ID int
	// Device is the minor number of the mount's device, which for FUSE is
	// also the number of the connection below /sys/fs/fuse/connections.
	Device uint32
	// Flags are the MS_* bits that mount(2) would take.
	Flags uintptr
	// UserID is who made a FUSE mount and serves it.
	UserID int
	// Source, Type and Mountpoint are what /proc/mounts shows.
	Source, Type, Mountpoint string
}

// Ours says whether the mount was made by this program with its default type.
func (i Info) Ours() bool { return i.Type == "fuse."+Subtype }

// Fuse says whether the mount is a FUSE mount of any kind.
func (i Info) Fuse() bool { return i.Type == "fuse" || strings.HasPrefix(i.Type, "fuse.") }

// At returns what is mounted at the absolute, clean path: the uppermost mount
// if there are several. ok is false when nothing is. It reads the mount table
// only, so it answers for dead and hung mounts too.
func At(path string) (info Info, ok bool, err error) {
	entries, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return i.Mountpoint != path, false
	})
	if err != nil {
		return Info{}, false, fmt.Errorf("read the mount table: %w", err)
	}
	if len(entries) == 0 {
		return Info{}, false, nil
	}
	return infoOf(entries[len(entries)-1]), true, nil
}

// All returns every mount of this program, in the order of the mount table.
func All() ([]Info, error) {
	entries, err := mountinfo.GetMounts(nil)
	if err != nil {
		return nil, fmt.Errorf("read the mount table: %w", err)
	}
	var ours []Info
	for _, e := range entries {
		if i := infoOf(e); i.Ours() {
			ours = append(ours, i)
		}
	}
	return ours, nil
}

func infoOf(e *mountinfo.Info) Info {
	return Info{
		ID:         e.ID,
		Device:     uint32(e.Minor),
		Flags:      flagsOf(e.Options + "," + e.VFSOptions),
		UserID:     userID(e.VFSOptions),
		Source:     e.Source,
		Type:       e.FSType,
		Mountpoint: e.Mountpoint,
	}
}

// flagsOf are the MS_* bits among a mount's options.
func flagsOf(options string) (flags uintptr) {
	for _, word := range strings.Split(options, ",") {
		switch word {
		case "nosuid":
			flags |= unix.MS_NOSUID
		case "nodev":
			flags |= unix.MS_NODEV
		}
		for _, f := range flagWords {
			if f.word == word {
				flags |= f.bit
			}
		}
	}
	return flags
}

// userID is the user_id among a mount's options, 0 without one.
func userID(options string) int {
	for _, word := range strings.Split(options, ",") {
		if value, ok := strings.CutPrefix(word, "user_id="); ok {
			if id, err := strconv.ParseUint(value, 10, 31); err == nil {
				return int(id)
			}
		}
	}
	return 0
}

// Find returns the FUSE mount at path, which need not be absolute. It resolves
// all of path but its last element, so a dead or hung mount does not matter.
func Find(path string) (Info, error) {
	abs, err := resolveParent(path)
	if err != nil {
		return Info{}, &Error{kind: ErrNotOurs, msg: fmt.Sprintf("%q", path), cause: err}
	}
	info, ok, err := At(abs)
	if err == nil && !ok {
		// The last element may be a symbolic link.
		if abs, err = resolve(path); err == nil {
			info, ok, err = At(abs)
		}
	}
	switch {
	case err != nil:
		return Info{}, &Error{kind: ErrNotOurs, msg: fmt.Sprintf("%q", path), cause: err}
	case !ok:
		return Info{}, &Error{kind: ErrNotOurs, msg: fmt.Sprintf("%q is not a mountpoint", path),
			hint: "findmnt -t fuse.uringfs lists them"}
	case !info.Fuse():
		return Info{}, &Error{kind: ErrNotOurs, msg: fmt.Sprintf("%q is a mount of type %s", path, info.Type),
			hint: "findmnt -t fuse.uringfs lists those of uringfs"}
	}
	return info, nil
}
