package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// text is the value of a flag that must not be empty, and is one of choices if
// there are any.
type text struct {
	to      *string
	arg     string // names the value in the help
	choices []string
}

var _ pflag.Value = (*text)(nil)

func (t *text) String() string { return *t.to }
func (t *text) Type() string   { return t.arg }

func (t *text) Set(value string) error {
	switch {
	case t.choices != nil && !slices.Contains(t.choices, value):
		return errors.New("no such value")
	case value == "":
		return errors.New("it needs a value")
	}
	*t.to = value
	return nil
}

// flagError says what is wrong with a flag, and how to write it.
func flagError(cmd *cobra.Command, err error) error {
	hint := fmt.Sprintf("see \"%s --help\"", cmd.CommandPath())
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return usageError(hint, "%w", err)
	}
	flag, cause := invalid.GetFlag(), errors.Unwrap(invalid)
	switch value := flag.Value.(type) {
	case *text:
		form := strings.Join(value.choices, "|")
		if value.choices == nil {
			form = value.arg
		}
		hint = fmt.Sprintf("write --%s=%s", flag.Name, form)
	default: // a switch
		cause = errors.New("it takes no value")
		hint = fmt.Sprintf("write --%s", flag.Name)
	}
	return usageError(hint, "--%s=%s: %w", flag.Name, invalid.GetValue(), cause)
}

// notEmpty refuses arguments that are empty, as unset variables of scripts are:
// the system takes an empty path for the working directory or for nothing.
func notEmpty(hint string, args ...string) error {
	for _, arg := range args {
		if arg == "" {
			return usageError(hint, "an argument is empty")
		}
	}
	return nil
}
