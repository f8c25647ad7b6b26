package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/uringfs/uringfs/reactor"
)

// printError writes the two lines that users see of an error.
func printError(w io.Writer, err error) {
	fmt.Fprintf(w, "uringfs: %v\n", err)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
}

// hintOf returns what can be done about err, or "".
func hintOf(err error) string {
	var hinter interface{ Hint() string }
	if errors.As(err, &hinter) {
		return hinter.Hint()
	}
	var ring *reactor.SetupError
	if errors.As(err, &ring) {
		return ring.Hint + "; or take -o engine=sync"
	}
	return ""
}

// usageError is a fault in the arguments.
func usageError(hint, format string, args ...any) error {
	return &failure{code: exitUsage, err: fmt.Errorf(format, args...), hint: hint}
}
