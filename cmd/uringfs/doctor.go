package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/doctor"
)

func newDoctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [--json] [SOURCE]",
		Short: "say what this host and a directory give",
		Long: `Usage: uringfs doctor [--json] [SOURCE]

Says what this host gives: kernel, io_uring, FUSE, limits; and, for a SOURCE,
what its filesystem can do. Each finding is ok, a note, a warning or a failure,
with a remedy where there is one. The exit status is 0 if a mount can work, and
30 if something is missing. Nothing is changed.

  --json   print the findings as JSON
`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError("uringfs doctor [SOURCE]", "doctor takes one SOURCE at most")
			}
			return notEmpty("uringfs doctor [SOURCE]", args...)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			source := ""
			if len(args) == 1 {
				source = args[0]
			}
			report := doctor.Examine(source)
			if err := printReport(cmd.OutOrStdout(), report, asJSON); err != nil {
				return err
			}
			if !report.Fit {
				return &failure{code: exitUnfit, err: errors.New("something that a mount needs is missing"), hint: "see the findings marked fail"}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the findings as JSON")
	return cmd
}

func printReport(w io.Writer, r doctor.Report, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(r)
	}
	for _, f := range r.Findings {
		if _, err := fmt.Fprintf(w, "%-5s %-19s %s\n", f.State, f.Name, f.Says); err != nil {
			return err
		}
		if f.Remedy != "" {
			if _, err := fmt.Fprintf(w, "%25s %s\n", "->", f.Remedy); err != nil {
				return err
			}
		}
	}
	return nil
}
