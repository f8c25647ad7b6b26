package mount

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// testRoot is a tree of one file, "greeting". Reads of the file "slow" wait
// until unblock is closed; reads and writes of "panics" do.
type testRoot struct {
	fusefs.Inode
	unblock chan struct{}
}

var _ = (fusefs.NodeOnAdder)((*testRoot)(nil))

func (r *testRoot) OnAdd(ctx context.Context) {
	file := &fusefs.MemRegularFile{Data: []byte("hello\n")}
	r.AddChild("greeting", r.NewPersistentInode(ctx, file, fusefs.StableAttr{}), false)
	r.AddChild("slow", r.NewPersistentInode(ctx, &slowFile{unblock: r.unblock}, fusefs.StableAttr{}), false)
	r.AddChild("panics", r.NewPersistentInode(ctx, &panicFile{}, fusefs.StableAttr{}), false)
}

type slowFile struct {
	fusefs.Inode
	unblock chan struct{}
}

var _ = (fusefs.NodeOpener)((*slowFile)(nil))

func (f *slowFile) Open(context.Context, uint32) (fusefs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

var _ = (fusefs.NodeReader)((*slowFile)(nil))

func (f *slowFile) Read(context.Context, fusefs.FileHandle, []byte, int64) (fuse.ReadResult, syscall.Errno) {
	<-f.unblock
	return fuse.ReadResultData(nil), 0
}

type panicFile struct{ slowFile }

func (*panicFile) Read(context.Context, fusefs.FileHandle, []byte, int64) (fuse.ReadResult, syscall.Errno) {
	panic("read")
}

var _ = (fusefs.NodeWriter)((*panicFile)(nil))

func (*panicFile) Write(context.Context, fusefs.FileHandle, []byte, int64) (uint32, syscall.Errno) {
	panic("write")
}

// needFuse skips on a machine without FUSE; CI must have it.
func needFuse(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(devFuse); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// fixture mounts a testRoot for one test and makes sure that it is gone after.
type fixture struct {
	*Mount
	dir string
	log *logBuffer
}

// logBuffer may be read while the mount writes to it.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func mountTest(t *testing.T, o Options) *fixture {
	t.Helper()
	needFuse(t)
	f := &fixture{dir: t.TempDir(), log: new(logBuffer)}
	l := logrus.New()
	l.SetOutput(f.log)
	o.Log = logrus.NewEntry(l)
	if o.Transport == "" && (o.MaxWrite == 0 || o.MaxWrite >= MinMaxWriteUring) { // scripts run the tests once over each
		o.Transport = Transport(os.Getenv("URINGFS_TRANSPORT"))
	}
	root := &testRoot{unblock: make(chan struct{})}
	m, err := New(Nodes(root, fusefs.Options{}), f.dir, o)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	f.Mount = m
	t.Cleanup(func() {
		close(root.unblock)
		if _, err := m.Unmount(Stages{Drain: -1, Lazy: -1}); err != nil {
			t.Errorf("Unmount: %v", err)
		}
		if i, ok, _ := At(f.dir); ok {
			t.Errorf("mount left over: %+v", i)
		}
	})
	return f
}

// cat reads a file in another process, so that a hung mount cannot hang us.
func cat(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("timeout", "60", "cat", path).CombinedOutput()
	if err != nil {
		t.Fatalf("cat %s: %v: %s", path, err, out)
	}
	return string(out)
}

// hold starts a process that keeps path open, and returns it.
func hold(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sh", "-c", "exec 3<\"$1\"; echo ready; exec sleep 600", "sh", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	buf := make([]byte, 6)
	if _, err := out.Read(buf); err != nil {
		t.Fatalf("holder: %v", err)
	}
	return cmd
}

func TestNewServesTheTree(t *testing.T) {
	f := mountTest(t, Options{})
	if got := cat(t, filepath.Join(f.dir, "greeting")); got != "hello\n" {
		t.Errorf("read %q", got)
	}
}

func TestMountTableShowsSourceAndType(t *testing.T) {
	f := mountTest(t, Options{FSName: "some, where"})
	i, ok, err := At(f.dir)
	if err != nil || !ok {
		t.Fatalf("At: %v, %v", ok, err)
	}
	if i.Source != "some, where" || i.Type != "fuse.uringfs" || !i.Ours() {
		t.Errorf("mount table shows %+v", i)
	}
}

// TestFlagsReachTheKernel compares mount options with /proc/self/mounts, for
// mount(2) and for fusermount3.
func TestFlagsReachTheKernel(t *testing.T) {
	cases := []struct {
		name  string
		o     Options
		want  []string
		never []string
	}{
		{"default", Options{}, []string{"rw", "nosuid", "nodev", "max_read=1048576"}, []string{"allow_other", "default_permissions"}},
		{"allow_other brings default_permissions", Options{AllowOther: true}, []string{"allow_other", "default_permissions"}, nil},
		{"suid,dev", Options{Suid: true, Dev: true}, nil, []string{"nosuid", "nodev"}},
		{"ro,noexec,noatime", Options{Flags: unix.MS_RDONLY | unix.MS_NOEXEC | unix.MS_NOATIME}, []string{"ro", "noexec", "noatime"}, []string{"rw"}},
		{"max_write bounds max_read", Options{MaxWrite: 64 << 10}, []string{"max_read=65536"}, nil},
	}
	for _, c := range cases {
		for _, auto := range []bool{false, true} {
			name := c.name + " by mount(2)"
			if auto {
				name = c.name + " by fusermount3"
			}
			t.Run(name, func(t *testing.T) {
				c.o.AutoUnmount = auto
				f := mountTest(t, c.o)
				got := mountOptions(t, f.dir)
				for _, w := range c.want {
					if !got[w] {
						t.Errorf("option %s is not set: %v", w, got)
					}
				}
				for _, w := range c.never {
					if got[w] {
						t.Errorf("option %s is set: %v", w, got)
					}
				}
			})
		}
	}
}

func mountOptions(t *testing.T, dir string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	set := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); f[1] == dir {
			for _, w := range strings.Split(f[3], ",") {
				set[w] = true
			}
		}
	}
	return set
}

// failing is a transport that does not start.
type failing struct{ err error }

func (f failing) start(dev *os.File, _ Tree, _ *fusefs.Options) (server, error) {
	return nil, errors.Join(f.err, dev.Close())
}

func (failing) drop() {}

// TestStartFailureLeavesNoMount guards against a stale mountpoint when the
// handshake fails.
func TestStartFailureLeavesNoMount(t *testing.T) {
	needFuse(t)
	dir := t.TempDir()
	o := Options{}
	if err := o.complete(); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	m := &Mount{log: o.Log, served: make(chan struct{})}
	if err := m.start(failing{boom}, Nodes(&testRoot{}, fusefs.Options{}), dir, &o); !errors.Is(err, boom) {
		t.Errorf("start: %v, want %v", err, boom)
	}
	if i, ok, _ := At(dir); ok {
		t.Errorf("mount left over: %+v", i)
	}
}

func TestUnmountOfIdleMountIsClean(t *testing.T) {
	f := mountTest(t, Options{})
	if got, err := f.Unmount(Stages{}); got != Clean || err != nil {
		t.Errorf("Unmount: %v, %v; want clean", got, err)
	}
	f.Wait()
}

// endWhenLogged kills holder once the log of the mount has the words: it has been
// in the way by then. Without them Unmount gives up waiting for it.
func (f *fixture) endWhenLogged(holder *exec.Cmd, words string) {
	go func() { // ends with the mount, at the latest
		for !strings.Contains(f.log.String(), words) {
			select {
			case <-f.Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
		holder.Process.Kill()
	}()
}

// The log names the file that is held open.
func TestUnmountWaitsForTheLastUser(t *testing.T) {
	f := mountTest(t, Options{})
	f.endWhenLogged(hold(t, filepath.Join(f.dir, "greeting")), "greeting")
	if got, err := f.Unmount(Stages{Drain: time.Minute}); got != Clean || err != nil {
		t.Errorf("Unmount: %v, %v; want clean", got, err)
	}
}

func TestBusyMountIsUnmountedLazily(t *testing.T) {
	f := mountTest(t, Options{})
	f.endWhenLogged(hold(t, filepath.Join(f.dir, "greeting")), "unmounting lazily")
	if got, err := f.Unmount(Stages{Drain: -1, Lazy: time.Minute}); got != Lazy || err != nil {
		t.Errorf("Unmount: %v, %v; want lazy", got, err)
	}
}

func TestIdleOpenFileDoesNotStopTheUnmount(t *testing.T) {
	f := mountTest(t, Options{})
	hold(t, filepath.Join(f.dir, "greeting"))
	if got, err := f.Unmount(Stages{Drain: -1, Lazy: -1}); got != Aborted || err != nil {
		t.Errorf("Unmount: %v, %v; want aborted", got, err)
	}
}

// TestHungReaderIsCutOff: the daemon's own request still hangs after the abort,
// which Unmount says, but its caller is free.
func TestHungReaderIsCutOff(t *testing.T) {
	f := mountTest(t, Options{})
	reader := exec.Command("cat", filepath.Join(f.dir, "slow"))
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the read waits", func() bool { n, _ := Waiting(f.Info().Device); return n > 0 })
	if got, err := f.Unmount(Stages{Drain: -1, Lazy: -1}); got != Aborted || err == nil {
		t.Errorf("Unmount: %v, %v; want aborted and an error", got, err)
	}
	if err := reader.Wait(); err == nil {
		t.Error("the reader was not cut off")
	}
}

// waitUntil polls for what nobody announces.
func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func TestHurryEndsEachStage(t *testing.T) {
	f := mountTest(t, Options{})
	hold(t, filepath.Join(f.dir, "greeting"))
	hurry := make(chan struct{}, 2)
	hurry <- struct{}{}
	hurry <- struct{}{}
	// No test takes that long.
	got, err := f.Unmount(Stages{Drain: time.Hour, Lazy: time.Hour, Hurry: hurry})
	if got != Aborted || err != nil {
		t.Errorf("Unmount: %v, %v; want aborted", got, err)
	}
}

func TestWaitTellsAnUnmountByOthers(t *testing.T) {
	f := mountTest(t, Options{})
	if out, err := exec.Command("umount", f.dir).CombinedOutput(); err != nil {
		t.Fatalf("umount: %v: %s", err, out)
	}
	select {
	case <-f.Done():
	case <-time.After(time.Minute):
		t.Error("the server did not end")
	}
}

func TestAutoUnmountIsReleased(t *testing.T) {
	f := mountTest(t, Options{AutoUnmount: true})
	if f.keep == nil {
		t.Fatal("no socket to fusermount3")
	}
	if got, err := f.Unmount(Stages{}); got != Clean || err != nil {
		t.Errorf("Unmount: %v, %v", got, err)
	}
}

// TestAForeignMountOnTopIsLeftAlone: only our own mount may be taken off.
func TestAForeignMountOnTopIsLeftAlone(t *testing.T) {
	f := mountTest(t, Options{})
	if err := unix.Mount("none", f.dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Skip("mount tmpfs:", err)
	}
	if _, err := f.Unmount(Stages{Drain: -1, Lazy: -1}); err != nil {
		t.Errorf("Unmount: %v", err)
	}
	i, ok, err := At(f.dir)
	if err != nil || !ok || i.Type != "tmpfs" {
		t.Errorf("the tmpfs on top is gone: %+v", i)
	}
	for range 2 {
		if err := unix.Unmount(f.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}
}
