package mount

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Remount changes the mount flags (read-only, noexec and the like) of the mount
// at mountpoint to those of o. FUSE lets nothing else be changed: timeouts,
// sizes and access were settled when the connection was made. It takes root.
func Remount(mountpoint string, o Options) error {
	info, err := Find(mountpoint)
	if err != nil {
		return err
	}
	err = unix.Mount("", info.Mountpoint, "", unix.MS_REMOUNT|o.flags(), "")
	if err != nil {
		return &Error{kind: ErrPrivilege, msg: fmt.Sprintf("remount %q", mountpoint), cause: err,
			hint: "only root can remount"}
	}
	return nil
}
