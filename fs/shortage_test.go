package fs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/mount"
)

// A tree of far more files than the daemon may have descriptors is walked,
// stays cached, and can be used in every way; nobody sees EMFILE.
func TestDescriptorShortage(t *testing.T) {
	needRoot(t)
	user := &syscall.Credential{Uid: 1001, Gid: 1001}
	for _, tc := range []struct {
		name      string
		transport mount.Transport
		cred      *syscall.Credential
		files     int
	}{
		// Root turns nodes into file handles, others ask the kernel to forget.
		{"handles", "", nil, 8000},
		{"forget", "", user, 3000},
		// go-fuse sends FUSE_NOTIFY_PRUNE over /dev/fuse alone: name by name.
		{"forget names", mount.TransportUring, user, 3000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if n := os.Getenv("URINGFS_TEST_FILES"); n != "" {
				fmt.Sscan(n, &tc.files)
			}
			source := backing{name: "tmpfs", fstype: "tmpfs", options: "size=2g"}.mount(t)
			makeTree(t, source, tc.files)
			if tc.cred != nil {
				chownTree(t, source, 1001)
			}
			openUp(t, source)
			d := startMount(t, serveConfig{
				Source: source, NoFile: 1024, Transport: tc.transport,
				Options: testOptions{AttrTimeout: time.Hour, EntryTimeout: time.Hour},
			}, tc.cred)
			out := actAs(t, tc.cred, "walk", d.dir)
			t.Logf("%s; %+v, %d descriptors", out, d.stats(), d.fds())
			if got := d.fds(); got >= 1024 {
				t.Errorf("daemon holds %d descriptors", got)
			}
		})
	}
}

const filesPerDir = 500

func makeTree(t *testing.T, dir string, files int) {
	t.Helper()
	for i := 0; i < files; i += filesPerDir {
		d := filepath.Join(dir, fmt.Sprint("d", i/filesPerDir))
		if err := os.Mkdir(d, 0755); err != nil {
			t.Fatal(err)
		}
		for j := range min(filesPerDir, files-i) {
			fd, err := unix.Open(fmt.Sprintf("%s/f%d", d, j), unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0644)
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(fd)
		}
	}
}

func chownTree(t *testing.T, dir string, id int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, id, id)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// walkTree uses every file below dir, keeps hundreds of them open, and comes
// back to all of them.
func walkTree(dir string) (string, error) {
	var paths []string
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if _, err := e.Info(); err != nil {
			return err
		}
		if e.Type().IsRegular() {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	var open []int
	for i := 0; i < len(paths) && len(open) < 300; i += max(1, len(paths)/300) {
		fd, err := unix.Open(paths[i], unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", fmt.Errorf("open %s with %d open: %w", paths[i], len(open), err)
		}
		open = append(open, fd)
	}
	// Every file again, by several threads.
	var wg sync.WaitGroup
	errs := make(chan error, len(paths))
	workers := 2 * runtime.NumCPU()
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(paths); i += workers {
				if err := os.Chmod(paths[i], 0600); err != nil {
					errs <- err
					return
				}
				if i%10 == 0 {
					if err := os.WriteFile(paths[i], []byte("text"), 0); err != nil {
						errs <- err
						return
					}
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		return "", err
	}
	for _, fd := range open {
		if _, err := unix.Pwrite(fd, []byte("open"), 0); err != nil {
			return "", err
		}
		unix.Close(fd)
	}
	for i, path := range paths {
		st, err := os.Lstat(path)
		if err != nil {
			return "", err
		}
		if st.Mode().Perm() != 0600 || i%10 == 0 && st.Size() != 4 {
			return "", fmt.Errorf("%s is %v, %d bytes", path, st.Mode(), st.Size())
		}
	}
	return fmt.Sprintf("%d files, %d open at once", len(paths), len(open)), nil
}
