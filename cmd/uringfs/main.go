// Command uringfs serves a directory at another place through FUSE, with file
// I/O done by io_uring.
package main

import (
	"os"
	"path/filepath"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/daemon"
)

func main() {
	os.Exit(run(os.Args, daemon.Inherit()))
}

// run is main without the exit. child is the pipe to the process that started
// us in the background, or nil.
func run(argv []string, child *daemon.Child) (code int) {
	cmd := newRootCommand(child)
	helper := isMountHelper(filepath.Base(argv[0]))
	if helper {
		cmd = newHelperCommand(child)
	}
	cmd.SetArgs(argv[1:])
	err := cmd.Execute()
	if err == nil {
		return exitOK
	}
	code = exitCode(err)
	if helper {
		code = helperExitCode(code)
	}
	if child == nil {
		printError(os.Stderr, err)
		return code
	}
	// An error after the mount was up is in the log; the pipe is closed then
	// and the parent long gone.
	child.Report(daemon.Report{Error: err.Error(), Hint: hintOf(err), Code: code})
	return code
}
