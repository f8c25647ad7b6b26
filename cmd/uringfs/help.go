package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/option"
)

const rootHelp = `uringfs serves the directory SOURCE at MOUNTPOINT, with file I/O by io_uring.

Usage:
  uringfs [-f] [-d] [-o OPTION[,OPTION...]] SOURCE MOUNTPOINT
  uringfs umount [--lazy] [--force] MOUNTPOINT...
  uringfs stats [--field NAME] MOUNTPOINT
  uringfs doctor [--json] [SOURCE]
  uringfs help options
  uringfs completion bash|zsh|fish

It goes into the background and returns when the mount is usable. Unmount with
umount, fusermount3 -u, uringfs umount, or a SIGTERM to the daemon.

Options:
  -f, --foreground         stay in the foreground and log to stderr
  -d, --debug              log every request; implies -f
  -o, --options LIST       mount options: "uringfs help options" lists them
      --log-level LEVEL    error, warning, info (default) or debug
      --log-format FORMAT  text (default) or json
      --log-file PATH      log to a file (default: stderr with -f, else syslog)
      --control PATH       socket for "uringfs stats": auto (default), none or a path
  -V, --version            print the version
  -h, --help               print this

Signals:
  SIGINT, SIGTERM   unmount: wait for users, then lazily, then cut them off;
                    a second signal goes to the next step at once
  SIGUSR1           write the counters to the log
  SIGHUP            reopen the log file

Examples:
  Serve /srv/data at /mnt, for this user:
    uringfs /srv/data /mnt

  Serve it to all users, read-only, and watch what happens:
    uringfs -f -o allow_other,ro /srv/data /mnt

  A line for /etc/fstab:
    /srv/data  /mnt  fuse.uringfs  allow_other,noatime  0 0

  What has the daemon done so far?
    uringfs stats /mnt

A SOURCE that is named like a subcommand is written with a slash: ./stats
Exit codes and all the rest: man uringfs
`

// newHelpCommand prints the help of a command or a topic, and refuses others.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [options|COMMAND]",
		Short: "print help",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usageError("\"uringfs help\" lists the commands, \"uringfs help options\" the options",
					"there is no help on %q", strings.Join(args, " "))
			}
			return topic.Help()
		},
	}
}

// newOptionsTopic is the help topic with all -o words.
func newOptionsTopic() *cobra.Command {
	return &cobra.Command{Use: "options", Short: "list the -o options", Long: optionsHelp()}
}

func optionsHelp() string {
	var b strings.Builder
	b.WriteString("Options for -o, separated by commas. Words that begin with x- are ignored.\n")
	for _, g := range option.Groups() {
		var lines []string
		for _, o := range option.All() {
			if o.Group != g {
				continue
			}
			if g == option.Ignored {
				lines = append(lines, o.Form())
				continue
			}
			lines = append(lines, fmt.Sprintf("  %-28s %s", o.Form(), o.Help))
		}
		if len(lines) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s:\n", g)
		if g == option.Ignored {
			b.WriteString("  " + strings.Join(lines, " ") + "\n")
			continue
		}
		b.WriteString(strings.Join(lines, "\n") + "\n")
	}
	return b.String()
}
