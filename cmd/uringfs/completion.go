package main

import (
	"github.com/spf13/cobra"

	"github.com/uringfs/uringfs/mount"
)

// completeMountpoints offers the mountpoints of uringfs.
func completeMountpoints(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	mounts, err := mount.All()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, m := range mounts {
		names = append(names, m.Mountpoint)
	}
	return names, cobra.ShellCompDirectiveDefault
}

func newCompletionCommand() *cobra.Command {
	const usage = "uringfs completion bash|zsh|fish"
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "print a completion script for the shell",
		Long: `Usage: uringfs completion bash|zsh|fish

Prints a completion script for the shell. The packages install it; otherwise:

  bash   source <(uringfs completion bash)
  zsh    uringfs completion zsh >"${fpath[1]}/_uringfs"
  fish   uringfs completion fish | source
`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(usage, "completion takes the name of one shell")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			root, w := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(w, true)
			case "zsh":
				return root.GenZshCompletion(w)
			case "fish":
				return root.GenFishCompletion(w, true)
			}
			return usageError(usage, "there are no completions for %q", args[0])
		},
	}
}
