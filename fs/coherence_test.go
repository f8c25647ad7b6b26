package fs_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// overwrite replaces a part of the file.
func overwrite(t *testing.T, path, data string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte(data), off)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func sixBytes(t *testing.T, fd, off int) string {
	t.Helper()
	p := make([]byte, 6)
	if _, err := unix.Pread(fd, p, int64(off)); err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// What is written at the source is read by the next open on the mount, though
// the size is the same and attributes are cached; unless kernel_cache was asked
// for. Without caches it is read at once.
func TestChangesBehindTheMount(t *testing.T) {
	for _, tc := range []struct {
		name string
		opts testOptions
		seen bool
	}{
		{"default", testOptions{AttrTimeout: time.Hour, EntryTimeout: time.Hour}, true},
		{"kernel_cache", testOptions{AttrTimeout: time.Hour, EntryTimeout: time.Hour, KeepCache: true}, false},
		{"uncached", testOptions{}, true},
		{"direct_io", testOptions{DirectIO: true}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			source := t.TempDir()
			write(t, filepath.Join(source, "f"), "before")
			d := startMount(t, serveConfig{Source: source, Options: tc.opts}, nil)
			path := filepath.Join(d.dir, "f")
			if got := read(t, path); got != "before" {
				t.Fatalf("read %q", got)
			}
			write(t, filepath.Join(source, "f"), "AFTER!")
			if got := read(t, path); (got == "AFTER!") != tc.seen {
				t.Errorf("read %q after a change at the source", got)
			}
		})
	}
}

// What is written at the source shows in files that are open, and in mappings of
// them, when the timeout is over; what was written through the mount stays.
func TestChangesBehindOpenFiles(t *testing.T) {
	for _, transport := range transports(t) {
		source := t.TempDir()
		write(t, filepath.Join(source, "f"), fmt.Sprintf("%8192s", "before"))
		const timeout = 50 * time.Millisecond
		d := startMount(t, serveConfig{Source: source, Transport: transport, Options: testOptions{AttrTimeout: timeout, EntryTimeout: timeout}}, nil)
		fd := openRW(t, d.dir, "f", 0)
		defer unix.Close(fd)
		mapped, err := unix.Mmap(fd, 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Munmap(mapped)
		at := func(off int) string { return sixBytes(t, fd, off) }
		if at(8186) != "before" || string(mapped[8186:]) != "before" {
			t.Fatal("not what was written")
		}
		if _, err := unix.Pwrite(fd, []byte("mount!"), 0); err != nil {
			t.Fatal(err)
		}
		copy(mapped[10:], "mapped")
		overwrite(t, filepath.Join(source, "f"), "behind", 8186)
		waitFor(t, func() bool { return at(8186) == "behind" })
		if got := string(mapped[8186:]); got != "behind" {
			t.Errorf("%s: the mapping has %q", transport, got)
		}
		if a, b := at(0), at(10); a != "mount!" || b != "mapped" {
			t.Errorf("%s: what the mount wrote is %q and %q", transport, a, b)
		}
		if err := unix.Msync(mapped, unix.MS_SYNC); err != nil {
			t.Fatal(err)
		}
		if got := read(t, filepath.Join(source, "f")); got[:16] != "mount!    mapped" || got[8186:] != "behind" {
			t.Errorf("%s: the source has %q and %q", transport, got[:16], got[8186:])
		}
	}
}

// A change at the source is found between writes of the mount to the same file,
// and neither is lost.
func TestChangesBehindBetweenWrites(t *testing.T) {
	source := t.TempDir()
	write(t, filepath.Join(source, "f"), fmt.Sprintf("%8192s", "before"))
	d := startMount(t, serveConfig{Source: source, Options: testOptions{AttrTimeout: time.Hour, EntryTimeout: time.Hour}}, nil)
	fd := openRW(t, d.dir, "f", 0)
	defer unix.Close(fd)
	at := func(off int) string { return sixBytes(t, fd, off) }
	if got := at(8186); got != "before" {
		t.Fatalf("read %q", got)
	}
	if _, err := unix.Pwrite(fd, []byte("first!"), 0); err != nil {
		t.Fatal(err)
	}
	overwrite(t, filepath.Join(source, "f"), "behind", 8186)
	if _, err := unix.Pwrite(fd, []byte("second"), 100); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return at(8186) == "behind" })
	if a, b := at(0), at(100); a != "first!" || b != "second" {
		t.Errorf("what the mount wrote is %q and %q", a, b)
	}
}

// Writes that follow each other closely are not looked at one by one. A change by
// others that comes later is found in open files all the same, one that comes among
// them by an open after them.
func TestChangesBehindManyWrites(t *testing.T) {
	const size, hour = 1 << 20, time.Hour
	for _, among := range []bool{false, true} {
		t.Run(fmt.Sprintf("among=%v", among), func(t *testing.T) {
			source := t.TempDir()
			write(t, filepath.Join(source, "f"), strings.Repeat("before", size/6))
			d := startMount(t, serveConfig{Source: source, Options: testOptions{AttrTimeout: hour, EntryTimeout: hour}}, nil)
			fd := openRW(t, d.dir, "f", 0)
			defer unix.Close(fd)
			const at = size/6*6 - 6
			if got := sixBytes(t, fd, at); got != "before" {
				t.Fatalf("read %q", got)
			}
			many := func() {
				for i := range 100 {
					if _, err := unix.Pwrite(fd, []byte("mount!"), int64(i)*4096); err != nil {
						t.Fatal(err)
					}
				}
			}
			many()
			if !among {
				time.Sleep(50 * time.Millisecond)
			}
			overwrite(t, filepath.Join(source, "f"), "behind", at)
			many()
			time.Sleep(50 * time.Millisecond)
			if among {
				fd = openRW(t, d.dir, "f", 0)
				defer unix.Close(fd)
			}
			waitFor(t, func() bool { return sixBytes(t, fd, at) == "behind" })
			for i := range 100 {
				if got := sixBytes(t, fd, i*4096); got != "mount!" {
					t.Fatalf("write %d of the mount reads %q", i, got)
				}
			}
		})
	}
}

// Who writes and reads what it wrote reads that, whoever opens the file meanwhile.
func TestOpensBesideAWriter(t *testing.T) {
	for _, transport := range transports(t) {
		d := startMount(t, serveConfig{Source: t.TempDir(), Transport: transport, Options: cached}, nil)
		path := filepath.Join(d.dir, "f")
		write(t, path, strings.Repeat("before", 1000))
		fd := openRW(t, d.dir, "f", 0)
		defer unix.Close(fd)
		var stop atomic.Bool
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				p := make([]byte, 6)
				for !stop.Load() {
					other, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
					if err != nil {
						t.Error(err)
						return
					}
					unix.Pread(other, p, 4000)
					unix.Close(other)
					time.Sleep(200 * time.Microsecond)
				}
			})
		}
		stale, writes := 0, 0
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); writes++ {
			want := fmt.Sprintf("%06d", writes%1_000_000)
			if _, err := unix.Pwrite(fd, []byte(want), 100); err != nil {
				t.Fatal(err)
			}
			if sixBytes(t, fd, 100) != want {
				stale++
			}
		}
		stop.Store(true)
		wg.Wait()
		if stale > 0 {
			t.Errorf("%s: %d of %d reads after a write found something else", transport, stale, writes)
		}
	}
}

// Who writes a part of a page and reads it reads what it wrote, whoever writes
// other parts meanwhile.
func TestWritersOfOnePage(t *testing.T) {
	for _, transport := range transports(t) {
		d := startMount(t, serveConfig{Source: t.TempDir(), Transport: transport, Options: cached}, nil)
		const writers, stripe, rows = 12, 701, 2
		fd := openRW(t, d.dir, "f", 0)
		defer unix.Close(fd)
		if err := unix.Ftruncate(fd, writers*stripe*rows); err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(2 * time.Second)
		var wg sync.WaitGroup
		var stop atomic.Bool
		for w := range writers {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(1, uint64(w)))
				got, want := make([]byte, stripe), [rows][stripe]byte{}
				for !stop.Load() && time.Now().Before(end) {
					row, from := rng.IntN(rows), rng.IntN(stripe)
					to := from + 1 + rng.IntN(stripe-from)
					part, off := want[row][from:to], int64((row*writers+w)*stripe+from)
					if rng.IntN(10) < 4 {
						for i := range part {
							part[i] = byte(rng.Uint32())
						}
						if n, err := unix.Pwrite(fd, part, off); n != len(part) || err != nil {
							t.Error("write:", n, err)
						}
						continue
					}
					if n, err := unix.Pread(fd, got[:len(part)], off); n != len(part) || err != nil {
						t.Error("read:", n, err)
					}
					if !bytes.Equal(got[:len(part)], part) {
						t.Errorf("%s: writer %d reads something else at %d", transport, w, off)
						stop.Store(true)
					}
				}
			})
		}
		wg.Wait()
	}
}

// Names made, moved and removed at the source are seen when the timeout is over.
func TestNamesBehindTheMount(t *testing.T) {
	source := t.TempDir()
	const timeout = 50 * time.Millisecond
	d := startMount(t, serveConfig{Source: source, Options: testOptions{
		AttrTimeout: timeout, EntryTimeout: timeout, NegativeTimeout: timeout,
	}}, nil)
	exists := func(name string) bool {
		_, err := os.Lstat(filepath.Join(d.dir, name))
		return err == nil
	}
	if exists("a") {
		t.Fatal("a exists")
	}
	write(t, filepath.Join(source, "a"), "1")
	waitFor(t, func() bool { return exists("a") })
	held, err := os.Open(filepath.Join(d.dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := os.Rename(filepath.Join(source, "a"), filepath.Join(source, "b")); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return !exists("a") && exists("b") })
	// The same inode under its new name, and another one in its old place.
	write(t, filepath.Join(source, "a"), "22")
	waitFor(t, func() bool { return exists("a") })
	var st [3]unix.Stat_t
	for i, path := range []string{filepath.Join(d.dir, "a"), filepath.Join(d.dir, "b")} {
		if err := unix.Stat(path, &st[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Fstat(int(held.Fd()), &st[2]); err != nil {
		t.Fatal(err)
	}
	if st[1].Ino != st[2].Ino || st[0].Ino == st[1].Ino || st[0].Size != 2 || st[2].Size != 1 {
		t.Errorf("after a rename behind the mount: a %d, b %d, held %d", st[0].Ino, st[1].Ino, st[2].Ino)
	}
	// Replaced by something of another type.
	os.Remove(filepath.Join(source, "a"))
	if err := os.Mkdir(filepath.Join(source, "a"), 0755); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		fi, err := os.Lstat(filepath.Join(d.dir, "a"))
		return err == nil && fi.IsDir()
	})
}

// A file made at the source under a name that the kernel knows to be free is
// found by who wants to create it, and its mode decides, also if the caller may
// create in the directory only by what FUSE does not tell of it.
func TestCreateWhatAppeared(t *testing.T) {
	needRoot(t)
	source := t.TempDir()
	d := startMount(t, serveConfig{Source: source, Options: testOptions{
		AttrTimeout: time.Hour, EntryTimeout: time.Hour, NegativeTimeout: time.Hour,
	}}, nil)
	if err := os.Chown(source, 0, 3000); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(source, 0770); err != nil {
		t.Fatal(err)
	}
	member := &syscall.Credential{Uid: 1002, Gid: 1002, Groups: []uint32{3000}}
	for _, tc := range []struct {
		name string
		mode os.FileMode
		want string
	}{{"open", 0666, "text"}, {"private", 0600, "permission denied"}} {
		path := filepath.Join(d.dir, tc.name)
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Fatal(err)
		}
		write(t, filepath.Join(source, tc.name), "text")
		if err := os.Chmod(filepath.Join(source, tc.name), tc.mode); err != nil {
			t.Fatal(err)
		}
		if got := actAs(t, member, "create", path); got != tc.want {
			t.Errorf("%s: %s", tc.name, got)
		}
	}
}

// createOrRead opens path, which it creates if need be, and reads it.
func createOrRead(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0644)
	if err != nil {
		return err.Error(), nil
	}
	defer unix.Close(fd)
	buf := make([]byte, 100)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

// statx tells of a file what it tells at the source: inode number, birth time,
// every time to the nanosecond, blocks, attributes of its owner.
func TestStatx(t *testing.T) {
	needRoot(t)
	for _, b := range backings(t) {
		t.Run(b.name, func(t *testing.T) {
			source := b.mount(t)
			d := startMount(t, serveConfig{Source: source, Options: cached}, nil)
			for _, name := range []string{"f", "d/e", "d/l"} {
				switch name {
				case "f":
					write(t, filepath.Join(d.dir, name), fmt.Sprintf("%10000d", 1))
				case "d/e":
					os.MkdirAll(filepath.Join(d.dir, name), 0755)
				case "d/l":
					os.Symlink("target", filepath.Join(d.dir, name))
				}
				var got, want unix.Statx_t
				const mask = unix.STATX_BASIC_STATS | unix.STATX_BTIME
				if err := unix.Statx(unix.AT_FDCWD, filepath.Join(d.dir, name), unix.AT_SYMLINK_NOFOLLOW|unix.AT_STATX_FORCE_SYNC, mask, &got); err != nil {
					t.Fatal(err)
				}
				if err := unix.Statx(unix.AT_FDCWD, filepath.Join(source, name), unix.AT_SYMLINK_NOFOLLOW, mask, &want); err != nil {
					t.Fatal(err)
				}
				if got.Ino != want.Ino || got.Btime != want.Btime || got.Mtime != want.Mtime || got.Ctime != want.Ctime ||
					got.Size != want.Size || got.Nlink != want.Nlink || got.Blksize != want.Blksize && name == "f" || got.Mask&mask != mask {
					t.Errorf("%s:\n mount  %+v\n source %+v", name, got, want)
				}
			}
		})
	}
}

// Two filesystems below the source have inodes of the same numbers, which the
// mount keeps apart, in what it serves and in what it shows.
func TestDevicesBelowTheSource(t *testing.T) {
	needRoot(t)
	source := t.TempDir()
	var names []string
	for _, dir := range []string{"a", "b", "c"} {
		at := filepath.Join(source, dir)
		if err := os.Mkdir(at, 0755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("none", at, "tmpfs", 0, "size=1m"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(at, unix.MNT_DETACH) })
		for i := range 5 {
			name := filepath.Join(dir, fmt.Sprint(i))
			write(t, filepath.Join(source, name), name)
			names = append(names, name)
		}
	}
	d := startMount(t, serveConfig{Source: source, Options: cached}, nil)
	inodes := map[uint64]string{}
	for _, name := range names {
		path := filepath.Join(d.dir, name)
		if got := read(t, path); got != name {
			t.Errorf("%s reads %q", name, got)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if other, ok := inodes[st.Ino]; ok {
			t.Errorf("%s and %s both have inode number %d", name, other, st.Ino)
		}
		inodes[st.Ino] = name
	}
	if err := os.Rename(filepath.Join(d.dir, "a/0"), filepath.Join(d.dir, "b/x")); !os.IsExist(err) && err.(*os.LinkError).Err != unix.EXDEV {
		t.Errorf("rename across filesystems: %v", err)
	}
}

// A symlink put in the way at the source leads nobody out of it: names are
// looked up in directories, never along paths.
func TestNothingOutsideTheSource(t *testing.T) {
	base := t.TempDir()
	source, outside := filepath.Join(base, "source"), filepath.Join(base, "outside")
	for _, dir := range []string{source, outside, filepath.Join(source, "d")} {
		if err := os.Mkdir(dir, 0755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(outside, "secret"), "secret")
	write(t, filepath.Join(source, "d/secret"), "public")
	d := startMount(t, serveConfig{Source: source, Options: testOptions{AttrTimeout: time.Hour, EntryTimeout: time.Hour}}, nil)
	if got := read(t, filepath.Join(d.dir, "d/secret")); got != "public" {
		t.Fatal(got)
	}
	// The kernel still knows d as a directory.
	if err := os.Rename(filepath.Join(source, "d"), filepath.Join(source, "was")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(source, "d")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(d.dir, "d/new"), "x")
	if _, err := os.Lstat(filepath.Join(outside, "new")); err == nil {
		t.Error("a file was created outside the source")
	}
	if got := read(t, filepath.Join(d.dir, "d/secret")); got != "public" {
		t.Errorf("read %q", got)
	}
	if _, err := os.Lstat(filepath.Join(source, "was/new")); err != nil {
		t.Errorf("the file is not where its directory went: %v", err)
	}
}

// Reading moves the access time of the source by its own rules, and with
// noatime not at all.
func TestAtime(t *testing.T) {
	for _, noatime := range []bool{false, true} {
		source := t.TempDir()
		path := filepath.Join(source, "f")
		write(t, path, "text")
		old := time.Now().Add(-48 * time.Hour)
		if err := os.Chtimes(path, old, old.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		d := startMount(t, serveConfig{Source: source, Options: testOptions{NoAtime: noatime}}, nil)
		read(t, filepath.Join(d.dir, "f"))
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		if moved := st.Atim.Sec > old.Unix()+1; moved == noatime {
			t.Errorf("noatime %v: access time moved %v", noatime, moved)
		}
	}
}

// Without xattrs everything about them says that they are not supported.
func TestNoXattr(t *testing.T) {
	d := startMount(t, serveConfig{Source: t.TempDir(), Options: testOptions{NoXattr: true}}, nil)
	path := filepath.Join(d.dir, "f")
	write(t, path, "x")
	if err := unix.Setxattr(path, "user.a", []byte("b"), 0); err != unix.EOPNOTSUPP {
		t.Errorf("setxattr: %v", err)
	}
	if _, err := unix.Getxattr(path, "user.a", nil); err != unix.EOPNOTSUPP {
		t.Errorf("getxattr: %v", err)
	}
	if n, err := unix.Listxattr(path, nil); n > 0 || err != nil && err != unix.EOPNOTSUPP {
		t.Errorf("listxattr: %d, %v", n, err)
	}
}

// Without acl, too, the mode is seen to change with an ACL.
func TestModeOfACL(t *testing.T) {
	for _, transport := range transports(t) {
		t.Run(string(transport), func(t *testing.T) {
			d := startMount(t, serveConfig{Source: t.TempDir(), Transport: transport,
				Options: testOptions{AttrTimeout: time.Hour, EntryTimeout: time.Hour}}, nil)
			path := filepath.Join(d.dir, "f")
			write(t, path, "x")
			access, err := hex.DecodeString(acl([3]uint32{aclUserObj, 7, aclNone}, [3]uint32{aclGroupObj, 5, aclNone}, [3]uint32{aclOther, 1, aclNone})[2:])
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Setxattr(path, "system.posix_acl_access", access, 0); err != nil {
				t.Fatal(err)
			}
			// Who asks for more than the mode makes the kernel ask as well.
			var st unix.Statx_t
			if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MODE, &st); err != nil || st.Mode != unix.S_IFREG|0751 {
				t.Errorf("%o, %v", st.Mode, err)
			}
		})
	}
}

// A full source, and one with no quota left, says so at the call that asks for
// space: write or fallocate; msync for a mapping, fsync with the writeback cache. What fitted in is there, and goes on working.
func TestNoSpace(t *testing.T) {
	needRoot(t)
	const limit = 16 << 20
	for _, full := range []struct {
		backing
		want  error
		limit func(t *testing.T, dir string) // makes dir/source, with the quota
	}{
		{backing{name: "tmpfs", fstype: "tmpfs", options: "size=16m"}, unix.ENOSPC, nil},
		{backing{name: "ext4", fstype: "ext4", mkfs: []string{"mkfs.ext4", "-q", "-F"}, sizeMiB: 16}, unix.ENOSPC, nil},
		{backing{name: "btrfs", fstype: "btrfs", mkfs: []string{"mkfs.btrfs", "-q", "-f"}, sizeMiB: 256}, unix.EDQUOT, func(t *testing.T, dir string) {
			source := filepath.Join(dir, "source")
			for _, args := range [][]string{{"subvolume", "create", source}, {"quota", "enable", dir}, {"qgroup", "limit", fmt.Sprint(limit), source}} {
				if out, err := exec.Command("btrfs", args...).CombinedOutput(); err != nil {
					t.Skipf("btrfs %v: %v %s", args, err, out)
				}
			}
		}},
	} {
		for _, writeback := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s writeback=%v", full.name, writeback), func(t *testing.T) {
				dir := full.mount(t)
				source := filepath.Join(dir, "source")
				if full.limit != nil {
					full.limit(t, dir)
				} else if err := os.Mkdir(source, 0755); err != nil {
					t.Fatal(err)
				}
				d := startMount(t, serveConfig{Source: source, Options: testOptions{
					AttrTimeout: time.Second, EntryTimeout: time.Second, WritebackCache: writeback,
				}}, nil)
				fails := func(call string, err error) {
					t.Helper()
					if err != full.want {
						t.Errorf("%s: %v, want %v", call, err, full.want)
					}
				}
				small := openRW(t, d.dir, "small", 0)
				defer unix.Close(small)
				if _, err := unix.Pwrite(small, []byte("fits in"), 0); err != nil {
					t.Fatal(err)
				}
				fd, sparse := openRW(t, d.dir, "f", 0), openRW(t, d.dir, "sparse", 0)
				defer unix.Close(fd)
				defer unix.Close(sparse)
				if err := unix.Ftruncate(sparse, limit); err != nil {
					t.Fatal(err)
				}
				var err error
				buf := bytes.Repeat([]byte{1}, 64<<10)
				for off := int64(0); err == nil && off < 2*limit; off += int64(len(buf)) {
					_, err = unix.Pwrite(fd, buf, off)
				}
				if writeback {
					err = unix.Fsync(fd)
				}
				fails("write", err)
				fails("fallocate", unix.Fallocate(fd, 0, 0, 6*limit))
				mapped, err := unix.Mmap(sparse, 0, limit, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
				if err != nil {
					t.Fatal(err)
				}
				for off := 0; off < len(mapped); off += 4096 {
					mapped[off] = 1
				}
				fails("msync", unix.Msync(mapped, unix.MS_SYNC))
				unix.Munmap(mapped)
				p := make([]byte, 7)
				if _, err := unix.Pread(small, p, 0); err != nil || string(p) != "fits in" {
					t.Errorf("the file that was there first: %q, %v", p, err)
				}
			})
		}
	}
}

// An O_DIRECT descriptor and a buffered one of the same file see each other's
// writes, in both directions.
func TestDirectAndBuffered(t *testing.T) {
	d := startMount(t, serveConfig{Source: t.TempDir(), Options: cached}, nil)
	path := filepath.Join(d.dir, "f")
	write(t, path, fmt.Sprintf("%8192d", 0))
	open := func(flags int) int {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	direct, buffered := open(unix.O_RDWR|unix.O_DIRECT), open(unix.O_RDWR)
	buf := make([]byte, 4)
	for i := range 50 {
		text := fmt.Sprintf("%04d", i)
		from, to := buffered, direct
		if i%2 == 0 {
			from, to = direct, buffered
		}
		if _, err := unix.Pwrite(from, []byte(text), 100); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Pread(to, buf, 100); err != nil || string(buf) != text {
			t.Fatalf("round %d: read %q, %v; want %q", i, buf, err, text)
		}
	}
}

// A program just written can be run: no descriptor of the daemon's keeps it busy.
func TestExecuteWhatWasWritten(t *testing.T) {
	d := startMount(t, serveConfig{Source: t.TempDir(), Options: cached}, nil)
	data, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		path := filepath.Join(d.dir, fmt.Sprint("true", i))
		if err := os.WriteFile(path, data, 0755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(path).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
}
