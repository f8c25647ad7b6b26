package mount

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Holder is a process that keeps a mount busy.
type Holder struct {
	PID     int    `json:"pid"`
	Command string `json:"command"`
	// How is "cwd", "root", "file PATH" or "mmap PATH".
	How string `json:"how"`
}

func (h Holder) String() string {
	return fmt.Sprintf("%s[%d] (%s)", h.Command, h.PID, h.How)
}

// maxHolders bounds the list: it is read by people.
const maxHolders = 10

// Holders lists processes that hold the mount busy, at most ten. It reads /proc
// alone and touches nothing on the mount, so it answers for hung mounts too.
// Processes of others are only seen by root.
func Holders(i Info) []Holder {
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var found []Holder
	for _, dir := range pids {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		how := holds(dir, i)
		if how == "" {
			continue
		}
		comm, _ := os.ReadFile(filepath.Join(dir, "comm"))
		found = append(found, Holder{PID: pid, Command: strings.TrimSpace(string(comm)), How: how})
		if len(found) == maxHolders {
			break
		}
	}
	return found
}

// holds says how the process below dir (/proc/PID) holds the mount, or "".
func holds(dir string, i Info) string {
	for _, link := range []string{"cwd", "root"} {
		if target, err := os.Readlink(filepath.Join(dir, link)); err == nil && below(target, i.Mountpoint) {
			return link
		}
	}
	if how := holdsFile(dir, i); how != "" {
		return how
	}
	return holdsMap(dir, i)
}

func holdsFile(dir string, i Info) string {
	infos, err := os.ReadDir(filepath.Join(dir, "fdinfo"))
	if err != nil {
		return ""
	}
	want := fmt.Sprintf("mnt_id:\t%d\n", i.ID)
	for _, e := range infos {
		text, err := os.ReadFile(filepath.Join(dir, "fdinfo", e.Name()))
		if err != nil || !strings.Contains(string(text), want) {
			continue
		}
		target, err := os.Readlink(filepath.Join(dir, "fd", e.Name()))
		if err != nil {
			target = "?"
		}
		return "file " + target
	}
	return ""
}

// holdsMap looks for the device in the memory map: column 4 is MAJOR:MINOR in
// hex, and FUSE mounts without a block device have major 0.
func holdsMap(dir string, i Info) string {
	f, err := os.Open(filepath.Join(dir, "maps"))
	if err != nil {
		return ""
	}
	defer f.Close()
	want := fmt.Sprintf("00:%02x", i.Device)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) >= 6 && fields[3] == want {
			return "mmap " + strings.Join(fields[5:], " ")
		}
	}
	return ""
}

// below says whether path is dir or lies in it.
func below(path, dir string) bool {
	return path == dir || dir == "/" || strings.HasPrefix(path, dir+"/")
}
