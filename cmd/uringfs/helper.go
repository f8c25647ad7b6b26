package main

import (
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/daemon"
	"github.com/uringfs/uringfs/cmd/uringfs/internal/option"
	"github.com/uringfs/uringfs/mount"
)

// isMountHelper says whether the program was called by mount(8), which looks for
// /sbin/mount.TYPE: "mount -t uringfs" or "mount -t fuse.uringfs".
func isMountHelper(name string) bool {
	return name == "mount.uringfs" || name == "mount.fuse.uringfs"
}

// helperDefaults are those of mount(8), which does not pass suid and dev on but
// leaves nosuid and nodev out. As with a bind mount, what SOURCE's own mount does
// not honour is not honoured here.
func helperDefaults(args []string) *option.Settings {
	s := option.Default()
	var st unix.Statfs_t
	if len(args) > 0 && mount.Privileged() && unix.Statfs(args[0], &st) == nil {
		s.Mount.Suid = st.Flags&unix.ST_NOSUID == 0
		s.Mount.Dev = st.Flags&unix.ST_NODEV == 0
	}
	return s
}

// newHelperCommand is the command line that mount(8) gives its helpers, which
// differs from ours: -f means "fake" there, and there are no subcommands.
func newHelperCommand(child *daemon.Child) *cobra.Command {
	var f mountFlags
	var fake, verbose, noMtab, sloppy bool
	var fsType, namespace string
	cmd := &cobra.Command{
		Use:               "mount.uringfs SOURCE MOUNTPOINT [-sfnv] [-t TYPE] [-N NAMESPACE] [-o OPTION[,OPTION...]]",
		Short:             "mount helper for mount(8)",
		Args:              cobra.ArbitraryArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(_ *cobra.Command, args []string) error {
			if namespace != "" {
				return usageError("use nsenter(1)", "-N %s: other namespaces are not supported", namespace)
			}
			s, err := f.settings(helperDefaults(args), sloppy)
			if err != nil {
				return err
			}
			if name, ok := strings.CutPrefix(fsType, "fuse."); ok && s.Mount.Subtype == "" {
				s.Mount.Subtype = name
			}
			if fake {
				_, _, err := checkArgs(args)
				return err
			}
			return f.mount(s, args, child)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.options, "options", "o", nil, "mount options")
	flags.BoolVarP(&fake, "fake", "f", false, "check everything, mount nothing")
	flags.BoolVarP(&noMtab, "no-mtab", "n", false, "ignored: there is no /etc/mtab to write")
	flags.BoolVarP(&sloppy, "sloppy", "s", false, "pass over unknown options")
	flags.BoolVarP(&verbose, "verbose", "v", false, "ignored")
	flags.StringVarP(&fsType, "type", "t", "", "filesystem type")
	flags.StringVarP(&namespace, "namespace", "N", "", "refused")
	f.defaults()
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return usageError("see mount.uringfs(8)", "%w", err)
	})
	return cmd
}
