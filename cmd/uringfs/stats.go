package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/control"
	"github.com/uringfs/uringfs/mount"
)

func newStatsCommand() *cobra.Command {
	var field, socket string
	cmd := &cobra.Command{
		Use:   "stats [--field NAME] MOUNTPOINT",
		Short: "print the counters of a running mount as JSON",
		Long: `Usage: uringfs stats [--field NAME] [--control PATH] MOUNTPOINT

Prints the counters of a running mount as JSON. It asks the daemon through a
socket and touches nothing on the mount, so it works on a mount that hangs.

  --field NAME    print one value only, such as reactor.completed
  --control PATH  the socket, if the mount was given one by --control

Example: how many operations has the ring completed?
  uringfs stats --field reactor.completed /mnt
`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("uringfs stats MOUNTPOINT", "stats takes one MOUNTPOINT")
			}
			return notEmpty("uringfs stats MOUNTPOINT", args...)
		},
		ValidArgsFunction: completeMountpoints,
		RunE: func(cmd *cobra.Command, args []string) error {
			return printStats(cmd.OutOrStdout(), args[0], field, socket)
		},
	}
	cmd.Flags().Var(&text{&field, "NAME", nil}, "field", "print one value only, such as reactor.completed")
	cmd.Flags().Var(&text{&socket, "PATH", nil}, "control", "the socket, if the mount was given one")
	return cmd
}

func printStats(w io.Writer, mountpoint, field, socket string) error {
	document, err := askStats(mountpoint, socket)
	if err != nil {
		return err
	}
	if field == "" {
		_, err := fmt.Fprintf(w, "%s\n", document)
		return err
	}
	var stats map[string]any
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber() // counters keep all their digits
	if err := decoder.Decode(&stats); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	value := any(stats)
	for _, name := range strings.Split(field, ".") {
		object, ok := value.(map[string]any)
		if ok {
			value, ok = object[name]
		}
		if !ok {
			return usageError("without --field all are shown", "there is no field %q", field)
		}
	}
	if object, ok := value.(map[string]any); ok {
		return json.NewEncoder(w).Encode(object)
	}
	_, err = fmt.Fprintln(w, value)
	return err
}

// askStats asks the daemon of the mount for its document.
func askStats(mountpoint, socket string) (json.RawMessage, error) {
	if socket == "" {
		info, err := mount.Find(mountpoint)
		if err != nil {
			return nil, err
		}
		socket = control.Find(info.Device, info.UserID)
	}
	var document json.RawMessage
	if err := control.Get(socket, &document); err != nil {
		return nil, &failure{code: exitNotOurs, err: err,
			hint: "is it a mount of uringfs, of this user (or, for root, with its socket in a usual place), without --control none, and is its daemon alive?"}
	}
	return document, nil
}
