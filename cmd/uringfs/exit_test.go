package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/option"
	"github.com/uringfs/uringfs/mount"
	"github.com/uringfs/uringfs/reactor"
)

func TestExitCodes(t *testing.T) {
	_, err := (&mountFlags{options: []string{"alow_other"}}).settings(option.Default(), false)
	cases := []struct {
		name string
		err  error
		code int
	}{
		{"unknown option", err, exitUsage},
		{"missing source", mount.Check("/nonexistent", t.TempDir(), mount.Options{}), exitSource},
		{"missing mountpoint", mount.Check(t.TempDir(), "/nonexistent", mount.Options{}), exitMountpoint},
		{"deadlock", mount.Check("/", t.TempDir(), mount.Options{}), exitDeadlock},
		{"no io_uring", fmt.Errorf("engine: %w", &reactor.SetupError{Step: "io_uring_setup", Err: errors.New("x")}), exitRing},
		{"aborted", errAborted, exitAborted},
		{"anything else", errors.New("x"), exitFailure},
	}
	for _, c := range cases {
		if got := exitCode(c.err); got != c.code {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.code)
		}
	}
}

func TestHelperReturnsMountsOwnCodes(t *testing.T) {
	for code, want := range map[int]int{exitOK: 0, exitUsage: 1, exitSource: 32, exitRing: 32, exitFailure: 32} {
		if got := helperExitCode(code); got != want {
			t.Errorf("helperExitCode(%d) = %d, want %d", code, got, want)
		}
	}
}

func TestErrorsAreTwoLines(t *testing.T) {
	var out bytes.Buffer
	err := option.Default().Apply("alow_other", false)
	printError(&out, err)
	const want = "uringfs: unknown option \"alow_other\"\nhint: did you mean \"allow_other\"?\n"
	if out.String() != want {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}
