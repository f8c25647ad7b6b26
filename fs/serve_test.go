package fs_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/uringfs/uringfs/fs"
	"github.com/uringfs/uringfs/mount"
	"github.com/uringfs/uringfs/mount/overuring"
	"github.com/uringfs/uringfs/reactor"
)

// A Go process that touches its own FUSE mount can deadlock, so the test
// binary runs itself again as the daemon.
const serveEnv = "URINGFS_TEST_SERVE" // value: a serveConfig

func TestMain(m *testing.M) {
	if dir := os.Getenv(actEnv); dir != "" {
		os.Exit(act(dir))
	}
	if cfg := os.Getenv(serveEnv); cfg != "" {
		if err := serve(cfg); err != nil {
			fmt.Fprintln(os.Stderr, "serve:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serveConfig is what the daemon process of a test is told.
type serveConfig struct {
	Source, Mountpoint string
	Options            testOptions
	Transport          mount.Transport // empty: that of URINGFS_TRANSPORT, else dev
	NoFile             uint64          // RLIMIT_NOFILE, or 0
	Debug              bool
	Loopback           bool // serve go-fuse's path-based loopback instead
}

// testOptions are the Options that can be sent to the daemon.
type testOptions struct {
	AttrTimeout, EntryTimeout, NegativeTimeout time.Duration

	BackingDirect, NoXattr, ACL, WritebackCache, DirectIO, KeepCache, NoAtime bool
	RemoteLocks, NFSExport, Passthrough                                       bool

	MaxNodeFDs int
}

func (o testOptions) options(io fs.IO) fs.Options {
	return fs.Options{
		IO:          io,
		AttrTimeout: o.AttrTimeout, EntryTimeout: o.EntryTimeout, NegativeTimeout: o.NegativeTimeout,
		BackingDirect: o.BackingDirect, NoXattr: o.NoXattr, ACL: o.ACL, WritebackCache: o.WritebackCache,
		DirectIO: o.DirectIO, KeepCache: o.KeepCache, NoAtime: o.NoAtime,
		RemoteLocks: o.RemoteLocks, NFSExport: o.NFSExport, Passthrough: o.Passthrough,
		MaxNodeFDs: o.MaxNodeFDs,
	}
}

func syncEngine() bool { return os.Getenv("URINGFS_TEST_ENGINE") == "sync" }

func serve(config string) error {
	var cfg serveConfig
	if err := json.Unmarshal([]byte(config), &cfg); err != nil {
		return err
	}
	unix.Umask(0)
	if cfg.NoFile != 0 {
		rl := unix.Rlimit{Cur: cfg.NoFile, Max: cfg.NoFile}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &rl); err != nil {
			return err
		}
	}
	var io fs.IO = fs.NewSyncIO(0)
	if !syncEngine() {
		r, err := reactor.New(reactor.Config{Patience: fs.Patience})
		if err != nil {
			return err
		}
		defer r.Close()
		io = fs.Reactor(r)
	}
	tree, err := fs.New(cfg.Source, cfg.Options.options(io))
	if err != nil {
		return err
	}
	defer tree.Close()
	serve := serveDevice
	if cfg.Transport == mount.TransportUring && !cfg.Loopback {
		serve = serveRing
	}
	ended, err := serve(tree, cfg)
	if err != nil {
		return err
	}
	stats := make(chan os.Signal, 1)
	signal.Notify(stats, unix.SIGUSR1)
	fmt.Println("mounted")
	for {
		select {
		case <-ended:
			return nil
		case <-stats:
			json.NewEncoder(os.Stdout).Encode(tree.Stats())
		}
	}
}

// serveDevice serves the tree with go-fuse's own server. The channel is closed
// when the mount has ended.
func serveDevice(tree *fs.Tree, cfg serveConfig) (<-chan struct{}, error) {
	opts := tree.FuseOptions()
	opts.Logger = log.New(os.Stderr, "", 0)
	opts.MountOptions.Logger = opts.Logger
	opts.MountOptions.Debug = cfg.Debug
	opts.MountOptions.FsName = cfg.Source
	opts.MountOptions.Name = "uringfstest"
	opts.MountOptions.MaxBackground = 64
	opts.MountOptions.MaxWrite = 1 << 20
	opts.MountOptions.Options = []string{"default_permissions"}
	if os.Geteuid() == 0 {
		opts.MountOptions.AllowOther = true
		opts.MountOptions.DirectMountStrict = true
		opts.MountOptions.DirectMountFlags = unix.MS_MGC_VAL // suid, dev
	}
	raw := tree.RawFileSystem(&opts)
	if cfg.Loopback {
		root, err := fusefs.NewLoopbackRoot(cfg.Source)
		if err != nil {
			return nil, err
		}
		opts.RootStableAttr = nil
		opts.MountOptions.ExtraCapabilities = 0
		raw = fusefs.NewNodeFS(root, &opts)
	}
	server, err := fuse.NewServer(raw, cfg.Mountpoint, &opts.MountOptions)
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		server.Serve()
		close(ended)
	}()
	return ended, server.WaitMount()
}

// serveRing serves the tree over FUSE-over-io_uring and nothing else, as
// package mount does for uringfs itself.
func serveRing(tree *fs.Tree, cfg serveConfig) (<-chan struct{}, error) {
	if cfg.Mountpoint != mountedDevice {
		m, err := mount.New(tree, cfg.Mountpoint, mount.Options{
			Source: cfg.Source, Subtype: "uringfstest", Transport: mount.TransportUring,
			AllowOther: os.Geteuid() == 0, DefaultPermissions: true, Suid: true, Dev: true,
			MaxBackground: 64, DebugRequests: cfg.Debug,
		})
		if err != nil {
			return nil, err
		}
		return m.Done(), nil
	}
	s, err := overuring.New(overuring.Options{})
	if err != nil {
		return nil, err
	}
	opts := tree.FuseOptions()
	opts.MountOptions.MaxBackground = 64
	opts.MountOptions.MaxWrite = mount.DefaultMaxWrite // far above what wedges the kernel
	opts.ServerCallbacks = s.Callbacks()
	if err := s.Start(mountedDeviceFD, tree.RawFileSystem(&opts), &opts.MountOptions); err != nil {
		return nil, err
	}
	if on, refusal := s.Ring(); !on {
		return nil, fmt.Errorf("no ring: %s", refusal)
	}
	ended := make(chan struct{})
	go func() {
		s.Serve()
		close(ended)
	}()
	return ended, nil
}

// A daemon that may not mount inherits the connection of a mount made for it.
const (
	mountedDeviceFD = 3
	mountedDevice   = "/dev/fd/3"
)

// transports are those that this host can be tested with.
func transports(t testing.TB) []mount.Transport {
	if v := os.Getenv("URINGFS_TRANSPORT"); v != "" {
		return []mount.Transport{mount.Transport(v)}
	}
	// The sync engine blocks the thread of a ring, so that uringfs has it over dev alone.
	if _, err := os.Stat(enableUring); err != nil || os.Geteuid() != 0 || syncEngine() {
		return []mount.Transport{mount.TransportDev}
	}
	return []mount.Transport{mount.TransportDev, mount.TransportUring}
}

const enableUring = "/sys/module/fuse/parameters/enable_uring"

// switchRing sets the host's switch for FUSE-over-io_uring on and returns how
// to set it back, which is the caller's soon: a mount that is made goes on
// without it. Who else switches it waits (as mount's tests do).
func switchRing(t testing.TB) (restore func()) {
	t.Helper()
	was, err := os.ReadFile(enableUring)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("this kernel has no FUSE-over-io_uring")
	}
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "enable_uring.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err == nil {
		was, err = os.ReadFile(enableUring) // as its last user left it
	}
	if err == nil {
		err = os.WriteFile(enableUring, []byte("Y"), 0)
	}
	if err != nil {
		t.Skipf("cannot switch FUSE-over-io_uring: %v", err)
	}
	return func() {
		if err := os.WriteFile(enableUring, was, 0); err != nil {
			t.Error(err)
		}
		lock.Close()
	}
}

// daemon is a mount served by another process.
type daemon struct {
	t      testing.TB
	cmd    *exec.Cmd
	out    *bufio.Reader
	stdout io.Closer
	dir    string
}

// needFuse skips where FUSE cannot be had, and fails there in CI.
func needFuse(t testing.TB) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err == nil {
		f.Close()
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no FUSE in CI: %v", err)
	}
	t.Skipf("no FUSE: %v", err)
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("CI must run as root")
	}
	t.Skip("needs root")
}

// startMount serves cfg until the test ends. cred, if not nil, is who the
// daemon runs as.
func startMount(t testing.TB, cfg serveConfig, cred *syscall.Credential) *daemon {
	t.Helper()
	needFuse(t)
	if cfg.Mountpoint == "" {
		cfg.Mountpoint = t.TempDir()
		if cred != nil {
			openUp(t, cfg.Mountpoint)
			if err := os.Chown(cfg.Mountpoint, int(cred.Uid), int(cred.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	openUp(t, cfg.Mountpoint)
	mountpoint := cfg.Mountpoint
	if cred != nil {
		cfg.Mountpoint = mountedDevice
	}
	if cfg.Transport == "" {
		cfg.Transport = mount.Transport(os.Getenv("URINGFS_TRANSPORT"))
	}
	if cfg.Transport == mount.TransportUring && !cfg.Loopback {
		defer switchRing(t)()
	}
	js, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	if cred != nil {
		cmd.ExtraFiles = []*os.File{mountFor(t, mountpoint, cred)}
	}
	cmd.Env = append(os.Environ(), serveEnv+"="+string(js))
	cmd.Stderr = &testWriter{t: t, prefix: "daemon: "}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cred, Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, cmd: cmd, out: bufio.NewReader(stdout), stdout: stdout, dir: mountpoint}
	if line, err := d.out.ReadString('\n'); line != "mounted\n" {
		cmd.Wait()
		t.Fatalf("daemon did not mount: %q, %v", line, err)
	}
	t.Cleanup(d.stop)
	return d
}

// mountFor mounts as fusermount3 would for the user cred and returns the
// device, which the daemon inherits: fusermount3 itself needs a /dev/fuse that
// every user may open, and machines differ in that.
func mountFor(t testing.TB, dir string, cred *syscall.Credential) *os.File {
	t.Helper()
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dev.Close() })
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,default_permissions,max_read=%d",
		dev.Fd(), cred.Uid, cred.Gid, 1<<20)
	if err := unix.Mount("uringfstest", dir, "fuse.uringfstest", unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
		t.Fatal(err)
	}
	return dev
}

func (d *daemon) stop() {
	d.t.Helper()
	var err error
	for range 1000 {
		if err = unix.Unmount(d.dir, 0); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond) // EBUSY: the kernel still lets go
	}
	if err != nil {
		d.t.Errorf("unmount %s: %v", d.dir, err)
		unix.Unmount(d.dir, unix.MNT_DETACH)
	}
	done := make(chan error, 1)
	go func() { done <- d.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			d.t.Errorf("daemon: %v", err)
		}
	case <-time.After(time.Minute):
		d.cmd.Process.Kill()
		d.t.Errorf("daemon did not end after unmount")
		<-done
	}
}

// stats asks the daemon for the tree's counters.
func (d *daemon) stats() fs.Stats {
	d.t.Helper()
	d.cmd.Process.Signal(unix.SIGUSR1)
	line, err := d.out.ReadBytes('\n')
	if err != nil {
		d.t.Fatal(err)
	}
	var s fs.Stats
	if err := json.Unmarshal(line, &s); err != nil {
		d.t.Fatalf("%q: %v", line, err)
	}
	return s
}

// fds counts the daemon's descriptors.
func (d *daemon) fds() int {
	d.t.Helper()
	names, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.cmd.Process.Pid))
	if err != nil {
		d.t.Fatal(err)
	}
	return len(names)
}

// openUp lets every user reach dir, whose parents t.TempDir made 0700.
func openUp(t testing.TB, dir string) {
	t.Helper()
	for d := dir; strings.HasPrefix(d, os.TempDir()+"/"); d = filepath.Dir(d) {
		os.Chmod(d, 0755)
	}
}

type testWriter struct {
	t      testing.TB
	prefix string
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s%s", w.prefix, p)
	return len(p), nil
}
