package mount

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// checkPropagation refuses a mountpoint in a shared mount whose peers would show
// the new mount inside the source as well. source and mountpoint are resolved.
// See mount_namespaces(7) on peer groups.
func checkPropagation(source, mountpoint string) error {
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return fmt.Errorf("read the mount table: %w", err)
	}
	parent := mountOf(mounts, mountpoint)
	if parent == nil {
		return nil
	}
	group := tag(parent, "shared")
	if group == "" {
		return nil
	}
	inside := within(parent, mountpoint)
	for _, m := range mounts {
		if m == parent || tag(m, "shared") != group && tag(m, "master") != group {
			continue
		}
		if !below(inside, m.Root) {
			continue
		}
		copied := filepath.Join(m.Mountpoint, strings.TrimPrefix(inside, strings.TrimSuffix(m.Root, "/")))
		if below(copied, source) {
			return &Error{kind: ErrDeadlock,
				msg: fmt.Sprintf("source %q contains %q, where the mount on %q would show too, being shared: "+
					"the daemon would deadlock, waiting for itself when it walks into its own mount", source, copied, mountpoint),
				hint: "choose a mountpoint outside the source, or mount --make-private " + parent.Mountpoint}
		}
	}
	return nil
}

// mountOf returns the mount that path lies in: the last of the longest.
func mountOf(mounts []*mountinfo.Info, path string) *mountinfo.Info {
	var found *mountinfo.Info
	for _, m := range mounts {
		if below(path, m.Mountpoint) && (found == nil || len(m.Mountpoint) >= len(found.Mountpoint)) {
			found = m
		}
	}
	return found
}

// within returns the path of an object inside the filesystem of its mount.
func within(m *mountinfo.Info, path string) string {
	return filepath.Join(m.Root, strings.TrimPrefix(path, strings.TrimSuffix(m.Mountpoint, "/")))
}

// tag returns the peer group of an optional field ("shared:12"), or "".
func tag(m *mountinfo.Info, name string) string {
	for _, field := range strings.Fields(m.Optional) {
		if group, ok := strings.CutPrefix(field, name+":"); ok {
			return group
		}
	}
	return ""
}
