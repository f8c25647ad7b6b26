package main

import (
	"errors"
	"fmt"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/daemon"
	"github.com/uringfs/uringfs/cmd/uringfs/internal/option"
	"github.com/uringfs/uringfs/mount"
)

// runMount carries out "uringfs SOURCE MOUNTPOINT": in this process when it is
// in the foreground or already the background one, else by starting that.
func runMount(f *mountFlags, args []string, child *daemon.Child) error {
	s, err := f.settings(option.Default(), false)
	if err == nil && s.Remount {
		s, err = f.changed(args)
	}
	if err != nil {
		return err
	}
	return f.mount(s, args, child)
}

// changed reads all -o words on top of the flags that the mount has.
func (f *mountFlags) changed(args []string) (*option.Settings, error) {
	_, mountpoint, err := checkArgs(args)
	if err != nil {
		return nil, err
	}
	info, err := mount.Find(mountpoint)
	if err != nil {
		return nil, err
	}
	s := option.Default()
	s.Mount.SetFlags(info.Flags)
	return f.settings(s, false)
}

func checkArgs(args []string) (source, mountpoint string, err error) {
	const hint = "uringfs [-o OPTIONS] SOURCE MOUNTPOINT; see \"uringfs --help\""
	switch len(args) {
	case 0:
		return "", "", usageError(hint, "no SOURCE and no MOUNTPOINT given")
	case 1:
		return "", "", usageError(hint, "no MOUNTPOINT given after %q", args[0])
	case 2:
		return args[0], args[1], notEmpty(hint, args...)
	}
	return "", "", usageError(hint, "%q comes after SOURCE and MOUNTPOINT", args[2])
}

// inBackground starts the background process and returns its error as our own.
func inBackground() error {
	report, err := daemon.Start()
	if err != nil {
		return err
	}
	if report.Ready {
		return nil
	}
	if report.Error == "" {
		return fmt.Errorf("the background process gave no reason")
	}
	return &failure{code: report.Code, err: errors.New(report.Error), hint: report.Hint}
}
