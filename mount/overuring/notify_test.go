package overuring

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// newTestNotifier writes to the end of a socket that it returns.
func newTestNotifier(t *testing.T) (*notifier, int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pair[0]); unix.Close(pair[1]) })
	n := newNotifier()
	n.open(pair[0], 1<<20)
	return n, pair[1]
}

// message reads one notification.
func message(t *testing.T, fd int) (code int32, body []byte) {
	t.Helper()
	p := make([]byte, 4096)
	size, err := unix.Read(fd, p)
	if err != nil {
		t.Fatal(err)
	}
	p = p[:size]
	if int(binary.NativeEndian.Uint32(p)) != size || binary.NativeEndian.Uint64(p[8:]) != 0 {
		t.Fatalf("message of %d bytes: % x", size, p)
	}
	return int32(binary.NativeEndian.Uint32(p[4:])), p[16:]
}

// The codes of include/uapi/linux/fuse.h: go-fuse's constants are their negatives.
const (
	notifyInvalInode = 2
	notifyInvalEntry = 3
	notifyStoreCache = 4
	notifyDelete     = 6
)

func TestNotificationsAreWritten(t *testing.T) {
	n, fd := newTestNotifier(t)
	if st := n.EntryNotify(7, "name"); st != fuse.OK {
		t.Fatal(st)
	}
	if code, body := message(t, fd); code != notifyInvalEntry || !bytes.HasSuffix(body, []byte("name\x00")) || len(body) != 16+5 {
		t.Errorf("entry: %d, % x", code, body)
	}
	if st := n.DeleteNotify(7, 8, "name"); st != fuse.OK {
		t.Fatal(st)
	}
	if code, body := message(t, fd); code != notifyDelete || len(body) != 24+5 {
		t.Errorf("delete: %d, % x", code, body)
	}
	if st := n.InodeNotify(7, 1, 2); st != fuse.OK {
		t.Fatal(st)
	}
	if code, body := message(t, fd); code != notifyInvalInode || len(body) != 24 {
		t.Errorf("inode: %d, % x", code, body)
	}
	if st := n.InodeNotifyStoreCache(7, 1, []byte("data")); st != fuse.OK {
		t.Fatal(st)
	}
	if code, body := message(t, fd); code != notifyStoreCache || string(body[24:]) != "data" {
		t.Errorf("store: %d, % x", code, body)
	}
}

func TestRetrieveGetsItsReply(t *testing.T) {
	n, fd := newTestNotifier(t)
	go func() {
		for _, data := range []string{"some ", ""} { // the second is the end
			p := make([]byte, 4096)
			size, err := unix.Read(fd, p)
			if err != nil || size != 16+32 {
				return
			}
			unique := binary.NativeEndian.Uint64(p[16:])
			if unique == 0 || unique%2 != 0 {
				t.Errorf("unique %d", unique)
			}
			head := make([]byte, 40)
			copy(head[8:16], p[32:40])
			n.reply(unique, head, []byte(data))
		}
	}()
	dest := make([]byte, 10)
	if got, st := n.InodeRetrieveCache(7, 100, dest); got != 5 || st != fuse.OK || string(dest[:5]) != "some " {
		t.Errorf("%d, %v, %q", got, st, dest)
	}
}

func TestCloseEndsRetrievals(t *testing.T) {
	n, fd := newTestNotifier(t)
	result := make(chan fuse.Status)
	go func() {
		_, st := n.InodeRetrieveCache(7, 100, make([]byte, 10))
		result <- st
	}()
	message(t, fd) // it waits now
	n.close()
	if st := <-result; st != fuse.ENODEV {
		t.Error(st)
	}
	if st := n.EntryNotify(7, "name"); st != fuse.ENODEV {
		t.Errorf("after close: %v", st)
	}
}
