package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/control"
	"github.com/uringfs/uringfs/mount"
)

// exitWait bounds how long umount waits for the daemon to end.
const exitWait = 5 * time.Second

func newUmountCommand() *cobra.Command {
	var lazy, force bool
	cmd := &cobra.Command{
		Use:   "umount [--lazy] [--force] MOUNTPOINT...",
		Short: "unmount, also a mount whose daemon is gone",
		Long: `Usage: uringfs umount [--lazy] [--force] MOUNTPOINT...

Unmounts and waits for the daemon to end. A mount whose daemon is gone
("transport endpoint is not connected") is cleaned away.

  -l, --lazy    take a busy mount out of the tree now; open files stay usable
                until they are closed
  -f, --force   cut everybody off, also from a backing directory that hangs;
                then as --lazy
`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("uringfs umount MOUNTPOINT", "umount takes at least one MOUNTPOINT")
			}
			return notEmpty("uringfs umount MOUNTPOINT", args...)
		},
		ValidArgsFunction: completeMountpoints,
		RunE: func(cmd *cobra.Command, args []string) error {
			var failed error
			for _, mountpoint := range args {
				err := umount(mountpoint, lazy, force)
				if err != nil && failed != nil {
					printError(cmd.ErrOrStderr(), failed)
				}
				failed = cmp.Or(err, failed)
			}
			return failed
		},
	}
	cmd.Flags().BoolVarP(&lazy, "lazy", "l", false, "take a busy mount out of the tree")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "cut everybody off first")
	return cmd
}

func umount(mountpoint string, lazy, force bool) error {
	info, err := mount.Find(mountpoint)
	if err != nil {
		return err
	}
	daemon := daemonOf(info)
	defer daemon.close()
	if !info.Ours() && daemon == nil {
		return &failure{code: exitNotOurs, err: fmt.Errorf("%s on %q is not a uringfs mount", info.Type, mountpoint), hint: "umount " + mountpoint}
	}
	if force {
		if err := mount.Abort(info.Device); err != nil {
			return err
		}
	}
	err = mount.Detach(info.Mountpoint, lazy || force)
	if errors.Is(err, unix.EBUSY) && daemon == nil && mount.Dead(info) {
		err = mount.Detach(info.Mountpoint, true)
	}
	if errors.Is(err, unix.EBUSY) {
		return busyError(mountpoint, info)
	}
	if err != nil {
		return err
	}
	// A lazy unmount ends the daemon when the last user goes, not now.
	if !lazy || force {
		return daemon.wait()
	}
	return nil
}

func busyError(mountpoint string, info mount.Info) error {
	var held []string
	for _, h := range mount.Holders(info) {
		held = append(held, h.String())
	}
	by := ""
	if len(held) > 0 {
		by = ": held by " + strings.Join(held, ", ")
	}
	return &failure{code: exitBusy, err: fmt.Errorf("%q is busy%s", mountpoint, by),
		hint: "end these, or use --lazy, or --force to cut them off"}
}

// A peer is the daemon of a mount, held by a pidfd so that its number cannot be
// taken over by another process.
type peer struct{ pidfd int }

// daemonOf finds the daemon that serves the mount, or nil.
func daemonOf(info mount.Info) *peer {
	var raw json.RawMessage
	if control.Get(control.Path(info.Device), &raw) != nil {
		return nil
	}
	var s snapshot
	if json.Unmarshal(raw, &s) != nil || s.Connection != info.Device {
		return nil
	}
	fd, err := unix.PidfdOpen(s.PID, 0)
	if err != nil {
		return nil
	}
	return &peer{pidfd: fd}
}

// wait waits for the daemon to end, so that a script can go on to reuse what it
// held.
func (p *peer) wait() error {
	if p == nil {
		return nil
	}
	deadline := time.Now().Add(exitWait)
	for {
		left := time.Until(deadline)
		fds := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, max(0, int(left/time.Millisecond)))
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait for the daemon: %w", err)
		case n == 0:
			return &failure{code: exitBusy, err: errors.New("unmounted, but the daemon has not ended yet"),
				hint: "another mount namespace may still use the mount; see the daemon's log"}
		}
		return nil
	}
}

func (p *peer) close() {
	if p != nil {
		unix.Close(p.pidfd)
	}
}
