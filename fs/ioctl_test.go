package fs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Callers have an int for the answer, whatever the command's number says
// (FS_IOC_GETVERSION once wrote a long, and smashed the stack of lsattr -v).
func TestIoctlWritesAnInt(t *testing.T) {
	d := startMount(t, serveConfig{Source: t.TempDir(), Options: cached}, nil)
	f, err := os.Create(filepath.Join(d.dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, cmd := range map[string]uint{"GETFLAGS": unix.FS_IOC_GETFLAGS, "GETVERSION": fsIocGetVersion} {
		buf := bytes.Repeat([]byte{0xaa}, 16)
		err := ioctlPtr(int(f.Fd()), cmd, unsafe.Pointer(&buf[0]))
		if !bytes.Equal(buf[4:], bytes.Repeat([]byte{0xaa}, 12)) {
			t.Errorf("FS_IOC_%s: %v, %x", name, err, buf)
		}
	}
}

// What acts on the whole filesystem is not passed on: the daemon's rights would
// let any user do it.
func TestIoctlsOfTheFilesystem(t *testing.T) {
	needRoot(t)
	ext4 := backing{name: "ext4", fstype: "ext4", mkfs: []string{"mkfs.ext4", "-q", "-F"}, sizeMiB: 16}
	d := startMount(t, serveConfig{Source: ext4.mount(t), Options: cached}, nil)
	f, err := os.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, cmd := range map[string]uint{"FITRIM": 0xc0185879, "FS_IOC_SHUTDOWN": 0x8004587d, "FIFREEZE": 0xc0045877} {
		var arg [64]byte
		// FIFREEZE ends in the kernel, which knows that FUSE cannot be frozen.
		if err := ioctlPtr(int(f.Fd()), cmd, unsafe.Pointer(&arg[0])); err != unix.ENOTTY && err != unix.EOPNOTSUPP {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const fsIocGetVersion = 0x80087601
