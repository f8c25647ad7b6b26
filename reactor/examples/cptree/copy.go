package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/reactor"
)

// chunk is how many bytes one read or write moves.
const chunk = 256 << 10

// copier copies one tree.
type copier struct {
	r        *reactor.Reactor
	jobs     int
	progress func(bytes int64) // safe for concurrent use

	source, destination string
	dirs, links, files  []entry
	bytes               int64 // of all files
	copied              atomic.Int64

	mu     sync.Mutex
	errors []error
}

// entry is something to be copied.
type entry struct {
	path string // below source and destination
	info fs.FileInfo
}

// plan finds out what is to be copied.
func (c *copier) plan(ctx context.Context, source, destination string) error {
	c.source, c.destination = source, destination
	if _, err := os.Lstat(destination); err == nil {
		return fmt.Errorf("destination %q exists", destination)
	}
	from, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	to, err := filepath.Abs(destination)
	if err != nil {
		return err
	}
	if strings.HasPrefix(to+"/", from+"/") {
		return fmt.Errorf("destination %q is inside %q", destination, source)
	}
	if info, err := os.Stat(source); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("source %q is not a directory", source)
	}
	return filepath.WalkDir(source+"/", func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return c.add(path, info)
	})
}

func (c *copier) add(path string, info fs.FileInfo) error {
	relative, err := filepath.Rel(c.source, path)
	if err != nil {
		return err
	}
	e := entry{relative, info}
	switch {
	case info.IsDir():
		c.dirs = append(c.dirs, e)
	case info.Mode().IsRegular():
		c.files = append(c.files, e)
		c.bytes += info.Size()
	case info.Mode()&fs.ModeSymlink != 0:
		c.links = append(c.links, e)
	default:
		c.fail(fmt.Errorf("%s: not a file, a directory or a symbolic link", path))
	}
	return nil
}

func (c *copier) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errors = append(c.errors, err)
}

// copy does what was planned. It goes on after an error and returns them all,
// but makes an end when ctx does.
func (c *copier) copy(ctx context.Context) error {
	for _, e := range c.dirs { // parents come first
		// Ours alone until it is complete.
		if err := os.Mkdir(c.to(e), 0o700); err != nil {
			return err
		}
	}
	for _, e := range c.links {
		if err := c.link(e); err != nil {
			c.fail(err)
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(c.jobs, len(c.files)) {
		wg.Go(func() {
			buffers := [2][]byte{make([]byte, chunk), make([]byte, chunk)}
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(c.files) {
					return
				}
				if err := c.file(ctx, c.files[i], &buffers); err != nil {
					c.fail(err)
				} else {
					c.copied.Add(1)
				}
			}
		})
	}
	wg.Wait()
	for i := len(c.dirs) - 1; i >= 0; i-- { // what is inside would change the times
		if err := c.attributes(c.dirs[i]); err != nil {
			c.fail(err)
		}
	}
	return errors.Join(c.errors...)
}

func (c *copier) from(e entry) string { return filepath.Join(c.source, e.path) }
func (c *copier) to(e entry) string   { return filepath.Join(c.destination, e.path) }

func (c *copier) link(e entry) error {
	target, err := os.Readlink(c.from(e))
	if err != nil {
		return err
	}
	if err := os.Symlink(target, c.to(e)); err != nil {
		return err
	}
	return c.times(e)
}

// attributes gives the copy of e its mode and times.
func (c *copier) attributes(e entry) error {
	if err := os.Chmod(c.to(e), e.info.Mode()); err != nil {
		return err
	}
	return c.times(e)
}

func (c *copier) times(e entry) error {
	st := e.info.Sys().(*syscall.Stat_t)
	times := []unix.Timespec{unix.Timespec(st.Atim), unix.Timespec(st.Mtim)}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, c.to(e), times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "set times of", Path: c.to(e), Err: err}
	}
	return nil
}

// file copies a regular file. What is not complete is removed.
func (c *copier) file(ctx context.Context, e entry, buffers *[2][]byte) error {
	in, err := c.open(c.from(e), unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := c.open(c.to(e), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = c.data(ctx, in, out, buffers)
	if err == nil {
		err = c.attributes(e)
	}
	out.Close()
	if err != nil {
		os.Remove(c.to(e))
		return fmt.Errorf("copy %s: %w", c.from(e), err)
	}
	return nil
}

// open opens a file and gives it to the reactor.
func (c *copier) open(path string, flags int, mode uint32) (*reactor.File, error) {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return c.r.Open(fd)
}

// data copies what is in the file; while one buffer is written the other is
// filled. A file that fits into one needs neither futures nor a second look.
func (c *copier) data(ctx context.Context, in, out *reactor.File, buffers *[2][]byte) error {
	p := buffers[0]
	n, err := in.ReadAt(ctx, p, 0)
	for off := int64(0); err == nil && n > 0; {
		if n < len(p) { // the end of the file
			_, err := out.WriteAt(ctx, p[:n], off)
			c.progress(int64(n))
			return err
		}
		buffers[0], buffers[1] = buffers[1], buffers[0]
		ahead, startErr := in.SubmitRead(ctx, buffers[0], off+int64(n))
		if startErr != nil {
			return startErr
		}
		_, writeErr := out.WriteAt(ctx, p[:n], off)
		c.progress(int64(n))
		off += int64(n)
		if writeErr != nil || ctx.Err() != nil {
			ahead.Cancel()
		}
		p = buffers[0]
		// The buffer is the reactor's until the read is over, come what may.
		n, err = ahead.Wait(context.WithoutCancel(ctx))
		err = errors.Join(writeErr, ctx.Err(), err)
	}
	return err
}
