package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

// version is set by the linker (scripts/build); without that the module's own.
var version = ""

func programVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func printVersion(w io.Writer) error {
	_, err := fmt.Fprintf(w, "uringfs %s (go-fuse %s, %s)\n", programVersion(), dependency("github.com/hanwen/go-fuse/v2"), runtime.Version())
	return err
}

func dependency(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "unknown"
}
