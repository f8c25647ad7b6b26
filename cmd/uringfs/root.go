package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/daemon"
	"github.com/uringfs/uringfs/cmd/uringfs/internal/logging"
	"github.com/uringfs/uringfs/cmd/uringfs/internal/option"
)

// mountFlags are the flags of the command that mounts.
type mountFlags struct {
	foreground bool
	debug      bool
	options    []string
	log        logging.Options
	control    string
	version    bool
}

func newRootCommand(child *daemon.Child) *cobra.Command {
	var f mountFlags
	cmd := &cobra.Command{
		Use:           "uringfs [-f] [-d] [-o OPTION[,OPTION...]] SOURCE MOUNTPOINT",
		Short:         "serve a directory through FUSE and io_uring",
		Long:          rootHelp,
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.version {
				return printVersion(cmd.OutOrStdout())
			}
			return runMount(&f, args, child)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				// Subcommands, or else what the shell has.
				return nil, cobra.ShellCompDirectiveDefault
			case 1:
				return nil, cobra.ShellCompDirectiveFilterDirs
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().BoolVarP(&f.version, "version", "V", false, "print the version and exit")
	cmd.SetHelpTemplate("{{.Long}}")
	cmd.SetHelpCommand(newHelpCommand())
	cmd.CompletionOptions.DisableDefaultCmd = true // ours refuses unknown shells
	cmd.SetFlagErrorFunc(flagError)
	completeMountFlags(cmd)
	cmd.AddCommand(newUmountCommand(), newStatsCommand(), newDoctorCommand(), newOptionsTopic(), newCompletionCommand())
	return cmd
}

func (f *mountFlags) add(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.BoolVarP(&f.foreground, "foreground", "f", false, "stay in the foreground and log to stderr")
	flags.BoolVarP(&f.debug, "debug", "d", false, "log every request; implies -f")
	flags.StringArrayVarP(&f.options, "options", "o", nil, "mount options, see \"uringfs help options\"")
	f.defaults()
	flags.Var(&text{&f.log.Level, "LEVEL", logLevels}, "log-level", "least level logged: error, warning, info or debug")
	flags.Var(&text{&f.log.Format, "FORMAT", logFormats}, "log-format", "text or json")
	flags.Var(&text{&f.log.File, "PATH", nil}, "log-file", "log to this file (default: stderr with -f, else syslog)")
	flags.Var(&text{&f.control, "PATH", nil}, "control", "path of the socket for \"uringfs stats\", auto or none")
}

var (
	logLevels  = []string{"error", "warning", "info", "debug"}
	logFormats = []string{"text", "json"}
)

func (f *mountFlags) defaults() {
	f.log.Level, f.log.Format, f.control = "info", "text", controlAuto
}

// settings reads all -o words into s.
func (f *mountFlags) settings(s *option.Settings, sloppy bool) (*option.Settings, error) {
	for _, words := range f.options {
		if err := s.Apply(words, sloppy); err != nil {
			return nil, err
		}
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	if s.Debug {
		f.debug = true
	}
	if f.debug {
		f.foreground = true
		f.log.Level = "debug"
		s.Mount.DebugRequests = true
	}
	return s, nil
}

func completeMountFlags(cmd *cobra.Command) {
	fixed := func(values ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return values, cobra.ShellCompDirectiveNoFileComp
		}
	}
	for name, complete := range map[string]func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective){
		"log-level":  fixed(logLevels...),
		"log-format": fixed(logFormats...),
		"options":    completeOptions,
	} {
		if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
			panic("uringfs: completion for a flag that does not exist: " + name)
		}
	}
}

// completeOptions completes the last of the comma-separated words.
func completeOptions(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	before := ""
	for i := len(typed) - 1; i >= 0; i-- {
		if typed[i] == ',' {
			before = typed[:i+1]
			break
		}
	}
	var words []string
	for _, o := range option.All() {
		if o.Group == option.Ignored {
			continue
		}
		switch {
		case o.Values != nil:
			for _, v := range o.Values {
				words = append(words, before+o.Name+"="+v)
			}
		case o.Arg != "":
			words = append(words, before+o.Name+"=")
		default:
			words = append(words, before+o.Name)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
