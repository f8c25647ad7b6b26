// Cptree copies a directory tree through a reactor, many files at once:
//
//	cptree [-j jobs] [-q] SOURCE DESTINATION
//
// DESTINATION must not exist. Modes, times and symbolic links are kept; owners
// and hard links are not, as with cp -r. It shows how a program uses package
// reactor: one [reactor.File] for each open file, plain blocking calls from a
// bounded number of goroutines, futures where the next read is to go on while
// the last one is written.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/uringfs/uringfs/reactor"
)

const (
	exitFailure     = 1   // some of the tree was not copied
	exitUsage       = 2   // wrong arguments
	exitInterrupted = 130 // as shells say it: 128 + SIGINT
)

func main() { os.Exit(run()) }

func run() int {
	jobs := flag.Int("j", 8, "how many files are copied at once")
	quiet := flag.Bool("q", false, "show no progress")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: cptree [-j jobs] [-q] SOURCE DESTINATION")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 2 || *jobs < 1 {
		flag.Usage()
		return exitUsage
	}
	r, err := reactor.New(reactor.Config{})
	if err != nil {
		complain(err)
		return exitFailure
	}
	defer r.Close()
	// The first Ctrl-C ends the copy in good order, the second at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	c := &copier{r: r, jobs: *jobs, progress: func(int64) {}}
	if err := c.plan(ctx, flag.Arg(0), flag.Arg(1)); err != nil {
		complain(err)
		return exitFailure
	}
	finish := func() {}
	if !*quiet && term.IsTerminal(int(os.Stderr.Fd())) {
		bar := newBar(c.bytes, len(c.files))
		c.progress = func(n int64) { bar.Add64(n) }
		finish = func() { bar.Exit(); fmt.Fprintln(os.Stderr) }
	}
	err = c.copy(ctx)
	finish()
	if ctx.Err() != nil {
		complain(fmt.Errorf("interrupted: %d of %d files copied", c.copied.Load(), len(c.files)))
		return exitInterrupted
	}
	if err != nil {
		complain(err)
		return exitFailure
	}
	return 0
}

// newBar is a bar over the bytes to be copied, on standard error.
func newBar(bytes int64, files int) *progressbar.ProgressBar {
	return progressbar.NewOptions64(bytes,
		progressbar.OptionSetWriter(os.Stderr),
		progressbar.OptionSetDescription(fmt.Sprintf("%d files", files)),
		progressbar.OptionShowBytes(true),
		progressbar.OptionThrottle(65*time.Millisecond),
		progressbar.OptionFullWidth())
}

// complain prints each of the errors that err joins on a line of its own, and
// what to do about it where that is known.
func complain(err error) {
	var list interface{ Unwrap() []error }
	if errors.As(err, &list) {
		for _, e := range list.Unwrap() {
			complain(e)
		}
		return
	}
	fmt.Fprintln(os.Stderr, "cptree:", err)
	if setup := (*reactor.SetupError)(nil); errors.As(err, &setup) && setup.Hint != "" {
		fmt.Fprintln(os.Stderr, "hint:", setup.Hint)
	}
}
