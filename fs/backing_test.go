package fs_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// backing is a kind of filesystem to serve from.
type backing struct {
	name string
	// mkfs makes an image that is mounted; nil stands for a mount by type.
	mkfs    []string
	fstype  string
	options string
	sizeMiB int64
}

// backings are the filesystems every sentence is tested on. URINGFS_BACKINGS
// chooses among them ("ext4 tmpfs").
func backings(t testing.TB) []backing {
	all := []backing{
		{name: "tmpfs", fstype: "tmpfs", options: "size=2g"},
		{name: "ext4", fstype: "ext4", mkfs: []string{"mkfs.ext4", "-q", "-F"}, sizeMiB: 256},
		{name: "xfs", fstype: "xfs", mkfs: []string{"mkfs.xfs", "-q", "-f"}, sizeMiB: 320},
		{name: "btrfs", fstype: "btrfs", mkfs: []string{"mkfs.btrfs", "-q", "-f"}, sizeMiB: 256},
	}
	want := os.Getenv("URINGFS_BACKINGS")
	if want == "" {
		return all
	}
	var chosen []backing
	for _, b := range all {
		if contains(want, b.name) {
			chosen = append(chosen, b)
		}
	}
	return chosen
}

func contains(list, name string) bool {
	return slices.Contains(strings.Fields(list), name)
}

// mount makes the filesystem and mounts it until the test ends. It skips where
// the kernel or the tools lack it, and fails there in CI.
func (b backing) mount(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	lacking := t.Skipf
	if os.Getenv("CI") == "true" {
		lacking = t.Fatalf
	}
	args := []string{"-t", b.fstype, b.name, dir}
	if b.mkfs != nil {
		// In memory, so that the disk of the machine is not what is tested.
		f, err := os.CreateTemp("/dev/shm", "uringfs-"+b.name+"-*.img")
		if err != nil {
			f, err = os.CreateTemp("", "uringfs-"+b.name+"-*.img")
		}
		if err != nil {
			t.Fatal(err)
		}
		image := f.Name()
		t.Cleanup(func() { os.Remove(image) })
		if err := f.Truncate(b.sizeMiB << 20); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if out, err := exec.Command(b.mkfs[0], append(b.mkfs[1:], image)...).CombinedOutput(); err != nil {
			lacking("%s: %v\n%s", b.mkfs[0], err, out)
		}
		args = []string{"-t", b.fstype, "-o", "loop", image, dir}
	} else if b.options != "" {
		args = append([]string{"-o", b.options}, args...)
	}
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		lacking("mount %s: %v\n%s", b.name, err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", b.name, err)
			unix.Unmount(dir, unix.MNT_DETACH)
		}
	})
	return dir
}
