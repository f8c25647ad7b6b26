package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// File handles of the mount stay good when the kernel has dropped everything it
// knew, across renames, and go stale with the file.
func TestFileHandles(t *testing.T) {
	needRoot(t)
	for _, transport := range transports(t) {
		for _, b := range backings(t) {
			t.Run(fmt.Sprint(b.name, " over ", transport), func(t *testing.T) {
				d := startMount(t, serveConfig{Source: b.mount(t), Transport: transport, Options: testOptions{
					AttrTimeout: cached.AttrTimeout, EntryTimeout: cached.EntryTimeout, NFSExport: true,
				}}, nil)
				t.Log(actAs(t, nil, "handles", d.dir), d.stats())
			})
		}
	}
}

// Without Options.NFSExport they are good as long as the kernel knows the inode,
// and then stale: never somebody else's.
func TestFileHandlesThatEnd(t *testing.T) {
	needRoot(t)
	d := startMount(t, serveConfig{Source: t.TempDir(), Options: cached}, nil)
	t.Log(actAs(t, nil, "handles-that-end", d.dir), d.stats())
}

func checkHandles(dir string) (string, error) { return openHandles(dir, false) }

func checkHandlesThatEnd(dir string) (string, error) { return openHandles(dir, true) }

// openHandles opens files by their handles after the kernel has dropped what it
// could. If they may be stale then, files take their place before.
func openHandles(dir string, stale bool) (string, error) {
	mount, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	handles := map[string]unix.FileHandle{}
	for i := range 20 {
		sub := filepath.Join(dir, fmt.Sprint("d", i), "deep")
		if err := os.MkdirAll(sub, 0755); err != nil {
			return "", err
		}
		name := filepath.Join(sub, "f")
		if err := os.WriteFile(name, []byte(name), 0644); err != nil {
			return "", err
		}
		for _, path := range []string{name, sub} {
			h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, path, 0)
			if err != nil {
				return "", fmt.Errorf("name_to_handle_at: %w", err)
			}
			handles[path] = h
		}
	}
	if err := os.Rename(filepath.Join(dir, "d3"), filepath.Join(dir, "moved")); err != nil {
		return "", err
	}
	gone := filepath.Join(dir, "d4/deep/f")
	if err := os.Remove(gone); err != nil {
		return "", err
	}
	for path, h := range handles {
		fd, err := unix.OpenByHandleAt(mount, h, unix.O_RDONLY)
		if err != nil && path != gone {
			return "", fmt.Errorf("open_by_handle_at of %s: %w", path, err)
		}
		unix.Close(fd)
	}
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		return "", err
	}
	opened := 0
	for path, h := range handles {
		if stale {
			path := filepath.Join(dir, fmt.Sprint("other", opened))
			if err := os.WriteFile(path, []byte(path), 0644); err != nil {
				return "", err
			}
		}
		fd, err := unix.OpenByHandleAt(mount, h, unix.O_RDONLY)
		if stale && err == unix.ESTALE {
			continue
		}
		if path == gone {
			if err != unix.ESTALE {
				return "", fmt.Errorf("handle of a removed file: %v", err)
			}
			continue
		}
		if err != nil {
			return "", fmt.Errorf("open_by_handle_at of %s: %w", path, err)
		}
		opened++
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return "", err
		}
		if filepath.Base(path) == "f" {
			buf := make([]byte, 500)
			n, err := unix.Read(fd, buf)
			if err != nil || string(buf[:n]) != path {
				return "", fmt.Errorf("%s reads %q, %v", path, buf[:max(n, 0)], err)
			}
		}
		unix.Close(fd)
	}
	return fmt.Sprintf("%d of %d handles opened", opened, len(handles)), nil
}
