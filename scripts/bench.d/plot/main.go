// Plot draws a run of scripts/bench: a panel for each cell, with a bar for each
// target, whose length is the median and whose whiskers are the slowest and the
// fastest round.
//
//	plot RUN.json|RUN.csv FILE.svg
//
// The plain directory has no bar: beside it, all others would be stumps. Its
// figure stands in the heading of each panel.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: plot RUN.json|RUN.csv FILE.svg")
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	r, err := read(flag.Arg(0))
	if err == nil {
		err = r.draw(flag.Arg(1))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "plot:", err)
		os.Exit(1)
	}
}
