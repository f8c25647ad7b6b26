// Filecheck uses files in every way there is, at random, and knows what must be
// in them: write(2) and its vectored, appending, synchronous and O_DIRECT kin,
// shared mappings, truncation, preallocation, holes, copy_file_range(2),
// renames, dropped caches, reopening. After each step what was read must be what
// was last written there; from time to time the whole file is compared.
//
//	filecheck [-seed N] [-ops N | -time 10s] [-workers N] [-size BYTES] [-align BYTES] [-apart] [-source DIR] DIR
//
// Each worker has two files of its own below DIR, and all of them share a third,
// in which each owns stripes that begin and end within pages. With -source the
// files are compared below that directory too, after an fsync. Where writes bypass
// the page cache, -apart keeps mappings out of the shared file: who stores to a page
// that another writes at the same time is on his own, as with O_DIRECT anywhere.
//
// A failure names the seed, the byte, the step that wrote it and the steps
// since. Status: 0 nothing found, 1 a wrong byte or a failed call, 2 usage.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// config is what the command line says.
type config struct {
	dir, source string
	seed        int64
	ops         int           // steps of each worker, or
	time        time.Duration // how long to go on; 0: as many as ops
	workers     int
	size        int  // largest size of a file, in bytes
	align       int  // of O_DIRECT requests, in bytes; 0: no O_DIRECT
	apart       bool // mappings of the shared file are not used
}

func main() {
	var c config
	flag.Int64Var(&c.seed, "seed", 0, "of the random numbers; 0: the time")
	flag.IntVar(&c.ops, "ops", 2000, "steps of each worker")
	flag.DurationVar(&c.time, "time", 0, "go on for so long, whatever the steps")
	flag.IntVar(&c.workers, "workers", 4, "how many are at work")
	flag.IntVar(&c.size, "size", 300_000, "largest size of a file in bytes")
	flag.IntVar(&c.align, "align", 1, "what O_DIRECT requests are multiples of, in bytes; 0: no O_DIRECT")
	flag.BoolVar(&c.apart, "apart", false, "no mapping of what others write at the same time")
	flag.StringVar(&c.source, "source", "", "where the files can be read, too")
	flag.Parse()
	if flag.NArg() != 1 || c.workers < 1 || c.size < 100 || c.align < 0 {
		flag.Usage()
		os.Exit(2)
	}
	c.dir = flag.Arg(0)
	if c.seed == 0 {
		c.seed = time.Now().UnixNano()
	}
	steps, err := c.run()
	if err != nil {
		fmt.Fprintf(os.Stderr, "filecheck: seed %d: %v\n", c.seed, err)
		os.Exit(1)
	}
	fmt.Printf("%d steps of %d workers, seed %d: every byte is right\n", steps, c.workers, c.seed)
}

// run has all workers do their steps, and returns how many were done.
func (c config) run() (steps int64, err error) {
	var wg sync.WaitGroup
	var done atomic.Int64
	var stop atomic.Bool
	errs := make(chan error, 2*c.workers) // each sends one at the most
	work := func(name string, fn func(stop func() bool) error) {
		wg.Go(func() {
			defer stop.Store(true)
			if err := guarded(fn, stop.Load); err != nil {
				errs <- fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	begun := time.Now()
	goesOn := func(stopped func() bool, n int) bool {
		if stopped() && len(errs) > 0 {
			return false
		}
		done.Add(1)
		if c.time > 0 {
			return time.Since(begun) < c.time
		}
		return n < c.ops
	}
	shared, err := newShared(c)
	if err != nil {
		return 0, err
	}
	defer shared.close()
	for i := range c.workers {
		work(fmt.Sprint("worker ", i), func(stopped func() bool) error {
			w, err := newWorker(c, i)
			if err != nil {
				return err
			}
			defer w.close()
			for n := 0; goesOn(stopped, n); n++ {
				if err := w.step(); err != nil {
					return w.explain(err)
				}
			}
			return w.end()
		})
		work(fmt.Sprint("stripes ", i), func(stopped func() bool) error {
			s := shared.worker(i)
			for n := 0; goesOn(stopped, n); n++ {
				if err := s.step(); err != nil {
					return fmt.Errorf("step %d: %w", n, err)
				}
			}
			return nil
		})
	}
	wg.Wait()
	close(errs)
	for e := range errs {
		if err == nil {
			err = e
		}
	}
	if err == nil {
		err = shared.end()
	}
	return done.Load(), err
}

// guarded makes an error of a fault in a mapping (SIGBUS), which is what a
// mapping makes of an I/O error.
func guarded(fn func(stop func() bool) error, stop func() bool) (err error) {
	debug.SetPanicOnFault(true)
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v\n%s", v, debug.Stack())
		}
	}()
	return fn(stop)
}

// inSource is where the file of that name is seen beside the mount, or "".
func (c config) inSource(path string) string {
	if c.source == "" {
		return ""
	}
	return filepath.Join(c.source, filepath.Base(path))
}
