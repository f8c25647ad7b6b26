package fs_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What a filesystem keeps for root is not for the users of root's mount, however
// they ask for space; and what binds no root, such as a quota, binds them. (It is
// the same right, CAP_SYS_RESOURCE, and this kernel has reserves everywhere, quotas
// not.)
func TestReserveIsNotForUsers(t *testing.T) {
	needRoot(t)
	if syncEngine() {
		t.Skip("only rings have the rights of users")
	}
	user := &syscall.Credential{Uid: 1001, Gid: 1001}
	reserving := backing{name: "ext4", fstype: "ext4", mkfs: []string{"mkfs.ext4", "-q", "-F", "-m", "20"}, sizeMiB: 64}
	for _, transport := range transports(t) {
		for _, writeback := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s writeback=%v", transport, writeback), func(t *testing.T) {
				source := reserving.mount(t)
				openUp(t, source)
				if err := os.Chmod(source, 0777); err != nil {
					t.Fatal(err)
				}
				d := startMount(t, serveConfig{Source: source, Transport: transport, Options: testOptions{
					AttrTimeout: time.Second, EntryTimeout: time.Second, WritebackCache: writeback,
				}}, nil)
				t.Log("plain: ", actAs(t, user, "fill-up", source))
				t.Log("mount: ", actAs(t, user, "fill-up", d.dir))
				// Root may.
				fd := openRW(t, d.dir, "root", 0)
				defer unix.Close(fd)
				if err := unix.Fallocate(fd, 0, 0, 50<<20); err != nil {
					t.Errorf("fallocate by root: %v", err)
				}
			})
		}
	}
}

// fillUp takes all the space there is, in several ways, and fails if that is more
// than a user may have.
func fillUp(dir string) (string, error) {
	const most = 100 << 20 // of bytes that a try writes
	var out string
	chunk := bytes.Repeat([]byte{1}, 1<<20)
	for _, way := range []struct {
		name string
		take func(fd int, off int64) error
	}{
		{"write", func(fd int, off int64) error { _, err := unix.Pwrite(fd, chunk, off); return err }},
		{"writev", func(fd int, off int64) error {
			_, err := unix.Pwritev(fd, [][]byte{chunk[:10], chunk[10:]}, off)
			return err
		}},
		{"fallocate", func(fd int, off int64) error { return unix.Fallocate(fd, 0, off, int64(len(chunk))) }},
		{"copy_file_range", func(fd int, off int64) error {
			if off == 0 {
				_, err := unix.Pwrite(fd, chunk, 0)
				return err
			}
			in := int64(0)
			_, err := unix.CopyFileRange(fd, &in, fd, &off, len(chunk), 0)
			return err
		}},
	} {
		path := filepath.Join(dir, way.name)
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0644)
		if err != nil {
			return out, err
		}
		taken := int64(0)
		for err == nil && taken < most {
			if err = way.take(fd, taken); err == nil {
				taken += int64(len(chunk))
			}
		}
		if errSync := unix.Fsync(fd); err == nil {
			err = errSync
		}
		if err != unix.ENOSPC {
			return out, fmt.Errorf("%s: %v after %d bytes", way.name, err, taken)
		}
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return out, err
		}
		reserve := st.Blocks / 5
		if st.Bfree < reserve/10*9 {
			return out, fmt.Errorf("%s has left %d blocks free of %d in reserve", way.name, st.Bfree, reserve)
		}
		out += fmt.Sprintf(" %s leaves %d blocks", way.name, st.Bfree)
		unix.Close(fd)
		if err := os.Remove(path); err != nil {
			return out, err
		}
		for range 1000 { // the space comes back with the inode's end
			if err := unix.Statfs(dir, &st); err != nil {
				return out, err
			}
			if st.Bavail > st.Blocks/2 {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return out, nil
}
