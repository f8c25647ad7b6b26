package fs_test

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Users of the scripts.
const (
	super = "0:0"
	owner = "1001:1001"           // owns what the scripts make
	mate  = "1002:1002:1001,3000" // belongs to the owner's group and to 3000
	other = "1003:1003"
	multi = "1001:1001:3000,3001" // the owner with supplementary groups
)

var users = []string{super, owner, mate, other}

// script collects the steps of one subject.
type script struct {
	steps []string
	count int
}

func (s *script) do(user, format string, args ...any) {
	s.steps = append(s.steps, user+" "+fmt.Sprintf(format, args...))
}

// fresh is a name not used before.
func (s *script) fresh(prefix string) string {
	s.count++
	return fmt.Sprintf("%s%d", prefix, s.count)
}

var fileTypes = []string{"file", "dir", "fifo", "sock", "char", "block", "link", "dangling"}

// make makes an inode of the type as user and returns its name.
func (s *script) make(user, typ string) string {
	name := s.fresh(typ)
	s.makeAt(user, typ, name)
	return name
}

func (s *script) makeAt(user, typ, name string) {
	switch typ {
	case "file":
		// Not open(2): the kernel releases a descriptor some time after close,
		// and a file that is open for writing differs in a corner of chown.
		s.do(user, "mknod %s file 0644", name)
	case "dir":
		s.do(user, "mkdir %s 0755", name)
	case "fifo", "sock":
		s.do(user, "mknod %s %s 0644", name, typ)
	case "char", "block":
		s.do(super, "mknod %s %s 0644 1 2", name, typ)
		if user != super {
			id := strings.Split(user, ":")
			s.do(super, "chown %s %s %s", name, id[0], id[1])
		}
	case "link":
		s.do(user, "open %s.target w|creat 0644", name)
		s.do(user, "symlink %s.target %s", name, name)
	case "dangling":
		s.do(user, "symlink nowhere-%s %s", name, name)
	}
}

func long(n int) string { return strings.Repeat("n", n) }

// longPath is a path of n bytes whose components exist nowhere.
func longPath(n int) string { return strings.Repeat("./", n/2) + strings.Repeat("x", n%2) }

// subjects are the scripts of the conformance suite by name. Each runs in a
// directory of its own with mode 0777.
func subjects() map[string][]string {
	all := map[string]func(*script){
		"chmod": chmodScript, "chown": chownScript, "link": linkScript, "mkdir": mkdirScript,
		"mknod": mknodScript, "open": openScript, "rename": renameScript, "rmdir": rmdirScript,
		"symlink": symlinkScript, "truncate": truncateScript, "unlink": unlinkScript,
		"utimens": utimensScript, "names": namesScript, "search": searchScript, "sticky": stickyScript,
		"setgid": setgidScript, "killpriv": killprivScript, "unlinked": unlinkedScript,
		"tmpfile": tmpfileScript, "xattr": xattrScript, "acl": aclScript, "flags": flagsScript,
		"space": spaceScript, "append": appendScript, "locks": locksScript, "deep": deepScript,
		"umask": umaskScript, "access": accessScript, "dates": datesScript, "mmap": mmapScript,
		"groups": groupsScript, "ctimes": ctimesScript, "ioctl": ioctlScript,
		"ranges":   rangesScript,
		"failures": failuresScript, "busy": busyScript,
	}
	out := make(map[string][]string, len(all))
	for name, fn := range all {
		var s script
		fn(&s)
		out[name] = s.steps
	}
	return out
}

func chmodScript(s *script) {
	for _, typ := range fileTypes {
		for _, user := range users {
			name := s.make(owner, typ)
			for _, mode := range []string{"0", "0111", "0755", "01777", "02755", "04755", "06711", "07777", "02644", "0100"} {
				s.do(user, "chmod %s %s", name, mode)
				s.do(super, "lstat %s", name)
				s.do(super, "stat %s", name)
			}
			s.do(user, "lchmod %s 0600", name)
			s.do(super, "lstat %s", name)
		}
	}
	// A group one does not belong to costs set-group-id.
	for _, user := range []string{owner, multi, super} {
		for _, gid := range []int{1001, 3000, 4000} {
			for _, typ := range []string{"file", "dir"} {
				name := s.make(owner, typ)
				s.do(super, "chown %s 1001 %d", name, gid)
				s.do(user, "chmod %s 02755", name)
				s.do(super, "stat %s", name)
				s.do(user, "chmod %s 06644", name)
				s.do(super, "stat %s", name)
			}
		}
	}
}

func chownScript(s *script) {
	owners := [][2]int{{-1, -1}, {0, 0}, {1001, -1}, {-1, 1001}, {1001, 3000}, {-1, 3000}, {-1, 4000}, {1002, 1002}, {-1, 3001}, {1003, -1}}
	for _, typ := range fileTypes {
		for _, user := range []string{super, owner, mate, multi, other} {
			for _, mode := range []string{"0644", "06755", "06644", "02755", "04711"} {
				name := s.make(owner, typ)
				s.do(super, "chmod %s %s", name, mode)
				for _, o := range owners[:6+len(mode)%3] {
					s.do(user, "lchown %s %d %d", name, o[0], o[1])
					s.do(super, "lstat %s", name)
				}
			}
			name := s.make(owner, typ)
			for _, o := range owners {
				s.do(user, "chown %s %d %d", name, o[0], o[1])
				s.do(super, "stat %s", name)
			}
		}
	}
}

func linkScript(s *script) {
	for _, typ := range fileTypes {
		for _, user := range users {
			name := s.make(owner, typ)
			to := s.fresh("l")
			s.do(user, "link %s %s", name, to)
			s.do(super, "lstat %s", to)
			s.do(user, "linkfollow %s %s", name, to+"f")
			s.do(super, "lstat %s", name)
			s.do(user, "link %s %s", name, to) // EEXIST
			s.do(user, "unlink %s", to)
			s.do(super, "lstat %s", name)
			for _, typ2 := range fileTypes {
				s.do(user, "link %s %s", name, s.make(owner, typ2))
			}
			s.do(user, "unlink %s", name)
			s.do(super, "lstat %s", to)
		}
	}
	s.do(super, "open many w|creat 0644")
	for i := range 40 {
		s.do(super, "link many many.%d", i)
	}
	s.do(super, "stat many.7")
	s.do(owner, "mkdir closed 0755")
	s.do(other, "link many closed/x")
	s.do(other, "link closed closed2")
	s.do(super, "link nothing x")
	s.do(super, "link many/x y")
	s.do(super, "link many many/y")
}

func mkdirScript(s *script) {
	for _, user := range users {
		for _, mode := range []string{"0755", "0", "0151", "01777", "02755", "04755", "07777"} {
			name := s.fresh("m")
			s.do(user, "mkdir %s %s", name, mode)
			s.do(super, "stat %s", name)
			s.do(user, "mkdir %s/sub 0777", name)
			s.do(super, "ls %s", name)
		}
	}
	for _, typ := range fileTypes {
		name := s.make(owner, typ)
		s.do(super, "mkdir %s 0755", name)
		s.do(super, "mkdir %s/x 0755", name)
	}
	s.do(super, "mkdir a/b/c 0755")
	s.do(super, "mkdir . 0755")
	s.do(super, "mkdir .. 0755")
	s.do(super, "mkdir slash/ 0755")
	s.do(super, "stat slash")
	s.do(super, "mkdir links 0755")
	for i := range 30 {
		s.do(super, "mkdir links/%d 0755", i)
	}
	s.do(super, "stat links")
	s.do(super, "rmdir links/3")
	s.do(super, "stat links")
}

func mknodScript(s *script) {
	for _, user := range users {
		for _, typ := range []string{"file", "fifo", "sock", "char", "block", "none", "bad"} {
			for _, mode := range []string{"0644", "0", "06755", "0151"} {
				name := s.fresh("n")
				s.do(user, "mknod %s %s %s 8 17", name, typ, mode)
				s.do(super, "lstat %s", name)
				s.do(user, "mknod %s %s %s 8 17", name, typ, mode)
			}
		}
		name := s.fresh("sk")
		s.do(user, "bind %s", name)
		s.do(super, "lstat %s", name)
		s.do(user, "bind %s", name)
	}
	for _, dev := range [][2]int{{0, 0}, {255, 255}, {4095, 1048575}, {259, 1000}} {
		name := s.fresh("d")
		s.do(super, "mknod %s char 0600 %d %d", name, dev[0], dev[1])
		s.do(super, "lstat %s", name)
	}
	for _, typ := range fileTypes {
		s.do(super, "mknod %s fifo 0644", s.make(owner, typ))
	}
}

func openScript(s *script) {
	for _, typ := range fileTypes {
		for _, user := range users {
			name := s.make(owner, typ)
			for _, flags := range []string{"r", "w|nonblock", "rw|nonblock", "r|nofollow|nonblock", "r|dir", "w|creat|excl", "path", "path|nofollow", "r|creat|nonblock"} {
				if (typ == "fifo" || typ == "char" || typ == "block") && flags == "r" {
					flags = "r|nonblock"
				}
				s.do(user, "open %s %s 0644", name, flags)
			}
		}
	}
	for _, user := range users {
		for _, mode := range []string{"0", "0400", "0200", "0600", "0040", "0020", "0060", "0004", "0002", "0006", "0777"} {
			name := s.make(owner, "file")
			s.do(owner, "chmod %s %s", name, mode)
			for _, flags := range []string{"r", "w", "rw", "w|append", "r|trunc", "w|trunc", "r|noatime"} {
				s.do(user, "open %s %s", name, flags)
			}
		}
		for _, mode := range []string{"0", "0644", "0151", "02755", "04755", "06777", "01644"} {
			name := s.fresh("c")
			s.do(user, "open %s rw|creat %s f", name, mode)
			s.do(user, "write f abc")
			s.do(user, "fstat f")
			s.do(user, "close f")
			s.do(super, "stat %s", name)
			s.do(user, "open %s w|creat|trunc 0600", name)
			s.do(super, "stat %s", name)
			s.do(user, "open %s w|creat|excl 0600", name)
		}
	}
	s.do(owner, "open real w|creat 0644")
	s.do(owner, "symlink real sl")
	s.do(owner, "symlink fresh dl")
	s.do(owner, "open sl w|creat|excl 0644")
	s.do(owner, "open dl w|creat|excl 0644")
	s.do(owner, "open dl w|creat 0640")
	s.do(super, "lstat fresh")
	s.do(owner, "open sl r|nofollow")
	s.do(owner, "open nothing r")
	s.do(owner, "open nothing/x r")
	s.do(owner, "open nothing/x w|creat 0644")
	s.do(owner, "open real/x w|creat 0644")
	s.do(owner, "open dir/ w|creat 0644")
	s.do(owner, "open real/ r")
	// O_TRUNC keeps the mode and moves the times.
	s.do(owner, "open t rw|creat 0644 f")
	s.do(owner, "write f hello")
	s.do(owner, "close f")
	s.do(owner, "mark t")
	s.do(owner, "open t w|trunc")
	s.do(owner, "moved t")
	s.do(owner, "stat t")
	s.do(owner, "mark t")
	s.do(owner, "open t w|trunc")
	s.do(owner, "moved t")
	// A file being executed cannot be written, and the reverse.
	s.do(super, "open /bin/true r 0 tr")
	s.do(super, "open exe w|creat 0755 e")
	s.do(super, "exec exe")
	s.do(super, "close e")
	// Descriptors keep their rights.
	s.do(owner, "open kept rw|creat 0600 k")
	s.do(owner, "chmod kept 0")
	s.do(owner, "write k data")
	s.do(owner, "pread k 10 0")
	s.do(owner, "ftruncate k 2")
	s.do(owner, "fstat k")
	s.do(owner, "close k")
	// A file created without write permission is writable through its descriptor.
	for _, user := range users {
		name := s.fresh("ro")
		s.do(user, "open %s rw|creat 0444 r", name)
		s.do(user, "write r text")
		s.do(user, "ftruncate r 1")
		s.do(user, "fallocate r 0 0 100")
		s.do(user, "fstat r")
		s.do(user, "close r")
	}
}

func renameScript(s *script) {
	for _, from := range fileTypes {
		for _, to := range append([]string{"nothing"}, fileTypes...) {
			for _, flags := range []int{0, 1, 2} {
				a, b := s.make(owner, from), s.fresh("to")
				if to != "nothing" {
					s.makeAt(owner, to, b)
				}
				s.do(owner, "rename %s %s %d", a, b, flags)
				s.do(super, "lstat %s", a)
				s.do(super, "lstat %s", b)
			}
		}
	}
	for _, user := range users {
		s.do(owner, "mkdir r%s 0755", user)
		s.do(owner, "mkdir r%s/full 0755", user)
		s.do(owner, "open r%s/full/f w|creat 0644", user)
		s.do(owner, "mkdir r%s/empty 0755", user)
		s.do(owner, "mkdir r%s/d 0755", user)
		s.do(user, "rename r%s/d r%s/full", user, user)
		s.do(user, "rename r%s/full r%s/d", user, user)
		s.do(user, "rename r%s/d r%s/d/sub", user, user)
		s.do(user, "rename r%s/d/f r%s/d", user, user)
		s.do(user, "rename r%s/d r%s/d", user, user)
		s.do(user, "rename r%s/d/f r%s/empty", user, user)
		s.do(user, "rename r%s/empty r%s/d/f", user, user)
		s.do(user, "rename r%s/empty r%s/d/f 2", user, user)
		s.do(user, "rename r%s/. x", user)
		s.do(user, "rename r%s/d/.. x", user)
		s.do(super, "ls r%s", user)
		s.do(super, "ls r%s/d", user)
	}
	s.do(owner, "open h1 w|creat 0644")
	s.do(owner, "link h1 h2")
	s.do(owner, "rename h1 h2") // the same inode: nothing happens
	s.do(owner, "stat h1")
	s.do(owner, "rename h1 h2 1")
	s.do(owner, "rename h1 h2 2")
	s.do(super, "rename h1 wh 4") // RENAME_WHITEOUT
	s.do(super, "lstat h1")
	s.do(owner, "rename wh wh2 4")
	s.do(super, "lstat wh")
	s.do(owner, "rename nothing x")
	s.do(owner, "rename h2 nothing/x")
	s.do(owner, "rename h2 x 3")
	// A directory one may not write cannot change its parent.
	s.do(super, "mkdir p1 0777")
	s.do(super, "mkdir p2 0777")
	s.do(super, "mkdir p1/locked 0755")
	s.do(owner, "rename p1/locked p2/locked")
	s.do(owner, "rename p1/locked p1/other")
	// Directories between directories: links of the parents, and "..".
	for _, to := range []string{"nothing", "empty", "file 2", "dir 2"} {
		a, b := s.fresh("from"), s.fresh("into")
		s.do(owner, "mkdir %s 0755", a)
		s.do(owner, "mkdir %s/d 0755", a)
		s.do(owner, "mkdir %s 0755", b)
		typ, exchange, _ := strings.Cut(to, " ")
		switch typ {
		case "file":
			s.do(owner, "mknod %s/d file 0644", b)
		case "empty", "dir":
			s.do(owner, "mkdir %s/d 0755", b)
			s.do(owner, "open %s/d r|dir 0 over", b)
		}
		s.do(owner, "rename %s/d %s/d %s", a, b, max(exchange, "0"))
		for _, name := range []string{"%s", "%[2]s", "%s/d", "%[2]s/d", "%[2]s/d/.."} {
			s.do(owner, "stat "+name+"%.0[1]s%.0[2]s", a, b)
		}
		s.do(owner, "fstat over")
	}
	// Times.
	s.do(owner, "open p1/f w|creat 0644")
	s.do(owner, "mark p1")
	s.do(owner, "mark p2")
	s.do(owner, "mark p1/f")
	s.do(owner, "rename p1/f p2/f")
	s.do(owner, "moved p1")
	s.do(owner, "moved p2")
}

func rmdirScript(s *script) {
	for _, user := range users {
		for _, typ := range fileTypes {
			s.do(user, "rmdir %s", s.make(owner, typ))
		}
		s.do(owner, "mkdir full%s 0755", user)
		s.do(owner, "mkdir full%s/sub 0755", user)
		s.do(user, "rmdir full%s", user)
		s.do(user, "rmdir full%s/sub/.", user)
		s.do(user, "rmdir full%s/sub/..", user)
		s.do(user, "rmdir full%s/sub", user)
		s.do(user, "rmdir full%s", user)
		s.do(user, "rmdir full%s", user)
	}
	s.do(owner, "rmdir nothing/x")
	s.do(owner, "rmdir .")
	// Removed while open and while somebody's cwd.
	s.do(owner, "mkdir cwd 0755")
	s.do(owner, "open cwd r|dir 0 d")
	s.do(owner, "open . r|dir 0 back")
	s.do(owner, "chdir cwd")
	s.do(owner, "rmdir ../cwd")
	s.do(owner, "open x w|creat 0644")
	s.do(owner, "mkdir y 0755")
	s.do(owner, "ls .")
	s.do(owner, "stat .")
	s.do(owner, "fstat d")
	s.do(owner, "getcwd")
	s.do(owner, "fchdir back")
	s.do(owner, "fchmod d 0700")
	s.do(owner, "fstat d")
	s.do(owner, "close d")
}

func symlinkScript(s *script) {
	for _, user := range users {
		for _, target := range []string{"x", "/absolute/target", "../up", long(255), strings.Repeat("0123456789/", 370)} {
			name := s.fresh("s")
			s.do(user, "symlink %s %s", target, name)
			s.do(super, "lstat %s", name)
			s.do(user, "readlink %s", name)
			s.do(user, "symlink %s %s", target, name)
		}
	}
	s.do(owner, "symlink %s toolong", long(4096))
	s.do(owner, "symlink %s longest", strings.Repeat("x/", 2047)+"x")
	s.do(owner, "lstat longest")
	for _, typ := range fileTypes {
		name := s.make(owner, typ)
		s.do(owner, "symlink x %s", name)
		s.do(owner, "readlink %s", name)
	}
	s.do(owner, "symlink loop1 loop2")
	s.do(owner, "symlink loop2 loop1")
	for _, call := range []string{"open loop1 r", "stat loop1", "chmod loop1 0644", "chown loop1 -1 -1", "truncate loop1 0",
		"mkdir loop1/x 0755", "link loop1/x y", "rename loop1/x y", "unlink loop1/x", "rmdir loop1/x", "symlink a loop1/x",
		"mknod loop1/x fifo 0644", "utimens loop1 now now", "open loop1/x w|creat 0644", "lstat loop1", "chdir loop1"} {
		s.do(owner, "%s", call)
	}
}

func truncateScript(s *script) {
	for _, user := range users {
		for _, mode := range []string{"0644", "0666", "0444", "0", "06777", "0200"} {
			name := s.make(owner, "file")
			s.do(super, "chmod %s %s", name, mode)
			for _, size := range []string{"0", "123456", "7", "-1"} {
				s.do(user, "truncate %s %s", name, size)
				s.do(super, "stat %s", name)
			}
		}
		for _, typ := range []string{"dir", "fifo", "sock", "char", "link", "dangling"} {
			s.do(user, "truncate %s 0", s.make(owner, typ))
		}
	}
	s.do(owner, "truncate nothing 0")
	s.do(owner, "open f rw|creat 0644 f")
	s.do(owner, "mark f")
	s.do(owner, "ftruncate f 0")
	s.do(owner, "moved f")
	s.do(owner, "mark f")
	s.do(owner, "truncate f 5")
	s.do(owner, "moved f")
	s.do(owner, "mark f")
	s.do(owner, "truncate f 5")
	s.do(owner, "moved f")
	s.do(owner, "open f r 0 ro")
	s.do(owner, "ftruncate ro 0")
	s.do(owner, "ftruncate f -1")
	s.do(owner, "ftruncate f 9223372036854775807")
	s.do(owner, "fstat f")
	s.do(owner, "ftruncate f 4611686018427387904")
	s.do(owner, "ftruncate f 5000000000")
	s.do(owner, "pwrite f end 4999999999")
	s.do(owner, "fstat f")
	s.do(owner, "pread f 10 4999999998")
}

func unlinkScript(s *script) {
	for _, user := range users {
		for _, typ := range fileTypes {
			name := s.make(owner, typ)
			s.do(user, "unlink %s", name)
			s.do(super, "lstat %s", name)
			s.do(user, "unlink %s", name)
		}
		s.do(owner, "mkdir d%s 0755", user)
		s.do(owner, "open d%s/f w|creat 0644", user)
		s.do(user, "unlink d%s/f", user)
		s.do(user, "unlink d%s", user)
	}
	s.do(owner, "open a w|creat 0644")
	s.do(owner, "link a b")
	s.do(owner, "mark b")
	s.do(owner, "mark .")
	s.do(owner, "unlink a")
	s.do(owner, "moved b")
	s.do(owner, "moved .")
	s.do(owner, "stat b")
	s.do(owner, "unlink b/x")
	s.do(owner, "unlink .")
	s.do(owner, "unlink b/")
}

func utimensScript(s *script) {
	for _, typ := range fileTypes {
		for _, user := range users {
			for _, mode := range []string{"0644", "0666"} {
				name := s.make(owner, typ)
				s.do(super, "lutimens %s 1000000.5 2000000.6", name)
				if typ != "link" && typ != "dangling" {
					s.do(owner, "chmod %s %s", name, mode)
				}
				s.do(user, "lutimens %s 1100000000.123456789 1200000000.987654321", name)
				s.do(super, "times %s", name)
				s.do(user, "lutimens %s omit 1300000000.0", name)
				s.do(super, "times %s", name)
				s.do(user, "lutimens %s 1400000000.1 omit", name)
				s.do(super, "times %s", name)
				s.do(user, "lutimens %s omit omit", name)
				s.do(user, "lutimens %s now omit", name)
				s.do(user, "lutimens %s omit now", name)
				s.do(user, "lutimens %s now now", name)
				s.do(user, "utimens %s now now", name)
				s.do(user, "utimens %s 5.5 6.6", name)
				s.do(super, "lutimens %s 1.000000001 2.999999999", name)
				s.do(super, "times %s", name)
			}
		}
	}
	s.do(owner, "utimens nothing now now")
}

// namesScript: every call with names that are too long or not directories.
func namesScript(s *script) {
	s.do(owner, "open file w|creat 0644")
	s.do(owner, "mkdir dir 0755")
	deep := "" // with one name of 255 bytes more as long as a path can be
	for range unix.PathMax/256 - 1 {
		deep += long(255)
		s.do(owner, "mkdir %s 0755", deep)
		deep += "/"
	}
	for _, bad := range []string{deep + long(255), deep + "./" + long(254), long(255), long(256), "dir/" + long(255), "dir/" + long(256), longPath(4094), longPath(4095),
		longPath(4096), "file/x", "file/", "dir/nothing/x", "nothing", "nothing/", "dir/", "dir/.", "dir/..", "-"} {
		for _, call := range []string{"lstat %s", "open %s r", "open %s w|creat 0644", "chmod %s 0755", "lchown %s -1 -1",
			"mkdir %s 0755", "mknod %s fifo 0644", "symlink x %s", "link file %s", "link %s y1", "rename file %s", "rename %s file",
			"truncate %s 0", "utimens %s now now", "unlink %s", "rmdir %s", "readlink %s", "access %s 4", "ls %s"} {
			s.do(super, call, bad)
		}
		s.do(owner, "open file w|creat 0644")
		s.do(owner, "mkdir dir 0755")
	}
	for _, name := range []string{"\xff\xfe\x01", "name\twith", "ünïcödé", "*?[", "...", "..x", ".hidden", "'\"`$"} {
		name = strings.ReplaceAll(name, "\t", "")
		s.do(owner, "open %s w|creat 0644", name)
		s.do(owner, "lstat %s", name)
		s.do(owner, "ls .")
		s.do(owner, "rename %s %s.new", name, name)
		s.do(owner, "unlink %s.new", name)
	}
}

// searchScript: a directory in the way that one may not search or write.
func searchScript(s *script) {
	for _, mode := range []string{"0755", "0700", "0600", "0500", "0400", "0300", "0200", "0100", "0", "0070", "0050", "0007", "0005", "0001"} {
		for _, user := range users {
			d := s.fresh("d")
			s.do(owner, "mkdir %s 0777", d)
			s.do(owner, "open %s/f w|creat 0666", d)
			s.do(owner, "mkdir %s/s 0777", d)
			s.do(owner, "symlink f %s/l", d)
			s.do(owner, "open out%s w|creat 0666", d)
			s.do(owner, "chmod %s %s", d, mode)
			for _, call := range []string{"lstat %s/f", "open %s/f r", "open %s/new w|creat 0644", "chmod %s/f 0660", "lchown %s/f -1 -1",
				"mkdir %s/nd 0755", "mknod %s/nf fifo 0644", "symlink x %s/nl", "link %s/f %[1]s/n2", "link %s/f ln%[1]s", "rename %s/f %[1]s/g",
				"truncate %s/g 3", "utimens %s/g now now", "readlink %s/l", "access %s/g 6", "ls %s", "unlink %s/g", "rmdir %s/s", "chdir %s",
				"lstat %s/nothing", "open out%s r", "rename out%s %[1]s/in", "open %s r|dir"} {
				s.do(user, call, d)
				if strings.HasPrefix(call, "chdir") {
					s.do(super, "fchdir top")
				}
			}
		}
	}
	s.steps = append([]string{super + " open . r|dir 0 top"}, s.steps...)
}

func stickyScript(s *script) {
	for _, dirOwner := range []string{super, owner, mate} {
		for _, fileOwner := range []string{super, owner, mate} {
			for _, user := range users {
				for _, typ := range []string{"file", "dir", "fifo", "dangling"} {
					d := s.fresh("t")
					s.do(dirOwner, "mkdir %s 01777", d)
					s.makeAt(fileOwner, typ, d+"/x")
					s.makeAt(fileOwner, typ, d+"/y")
					s.makeAt(user, "file", d+"/mine")
					s.do(user, "rename %s/x %s/z", d, d)
					s.do(user, "rename %s/mine %s/y", d, d)
					s.do(user, "rename %s/mine %s/y 2", d, d)
					s.do(user, "unlink %s/y", d)
					s.do(user, "rmdir %s/y", d)
					s.do(super, "ls %s", d)
				}
			}
		}
	}
}

func setgidScript(s *script) {
	for _, gid := range []int{1001, 3000, 4000} {
		for _, user := range []string{super, owner, mate, multi, other} {
			d := s.fresh("g")
			s.do(super, "mkdir %s 0777", d)
			s.do(super, "chown %s 0 %d", d, gid)
			s.do(super, "chmod %s 02777", d)
			for _, mode := range []string{"0755", "02755", "06755", "02644", "06777", "02010"} {
				for _, make := range []string{"open %s w|creat %s", "mkdir %s %s", "mknod %s fifo %s", "mknod %s file %s"} {
					name := d + "/" + s.fresh("x")
					s.do(user, make, name, mode)
					s.do(super, "lstat %s", name)
				}
			}
			s.do(user, "symlink x %s/l", d)
			s.do(super, "lstat %s/l", d)
			s.do(user, "open %s rw|tmpfile 02755 t", d)
			s.do(user, "fstat t")
			s.do(user, "close t")
		}
	}
}

func groupsScript(s *script) {
	// Writable by a supplementary group only.
	s.do(super, "mkdir team 0770")
	s.do(super, "chown team 0 3000")
	for _, user := range []string{owner, mate, multi, other} {
		name := s.fresh("team/f")
		s.do(user, "open %s w|creat 0640", name)
		s.do(super, "lstat %s", name)
		s.do(user, "mkdir %s.d 0750", name)
		s.do(super, "lstat %s.d", name)
		s.do(user, "symlink x %s.l", name)
		s.do(super, "lstat %s.l", name)
		s.do(user, "mknod %s.p fifo 0640", name)
		s.do(user, "open team rw|tmpfile 0600")
		s.do(user, "rename %s %s.r", name, name)
		s.do(user, "ls team")
		s.do(user, "unlink %s.r", name)
	}
}

func umaskScript(s *script) {
	for _, mask := range []string{"0", "022", "077", "0777", "0111", "007"} {
		s.do(super, "umask %s", mask)
		for _, user := range []string{super, owner} {
			name := s.fresh("u")
			s.do(user, "open %s w|creat 0777", name)
			s.do(user, "mkdir %s.d 0777", name)
			s.do(user, "mknod %s.p fifo 0777", name)
			s.do(user, "mknod %s.f file 06777", name)
			s.do(user, "symlink x %s.l", name)
			s.do(user, "open . rw|tmpfile 0777 t")
			s.do(user, "fstat t")
			s.do(user, "close t")
			for _, suffix := range []string{"", ".d", ".p", ".f", ".l"} {
				s.do(super, "lstat %s%s", name, suffix)
			}
		}
	}
	s.do(super, "umask 0")
}

// killprivScript: who changes a file takes its set-id bits and capabilities.
func killprivScript(s *script) {
	const capability = "0x0100000200040000000000000000000000000000" // cap_net_raw=ep, v2
	for _, mode := range []string{"04777", "02777", "06777", "02767", "02666", "0777"} {
		for _, user := range []string{super, owner, mate, multi, other} {
			for _, change := range []string{"write k x", "pwrite k x 5", "ftruncate k 10", "truncate %s 10", "fallocate k 0 0 100",
				"fallocate k 3 0 1", "open %s w|trunc", "copyrange src k 3 0 0", "mmapwrite k 0 z", "dwrite %s", "chown %s -1 -1", "chown %s -1 1001",
				"chmod %s 06777", "utimens %s now now", "setxattr %s user.k v"} {
				name := s.make(owner, "file")
				s.do(super, "truncate %s 50", name)
				s.do(super, "setxattr %s security.capability %s", name, capability)
				s.do(super, "chmod %s %s", name, mode)
				// An open writer makes chown(-1, -1) look like a write.
				flags := "rw"
				if strings.HasPrefix(change, "chown") {
					flags = "r"
				}
				s.do(user, "open %s %s 0 k", name, flags)
				s.do(user, "open killsrc r 0 src")
				if strings.Contains(change, "%s") {
					s.do(user, change, name)
				} else {
					s.do(user, "%s", change)
				}
				s.do(user, "mode %s", name)
				s.do(user, "fstat k")
				s.do(user, "close k")
				s.do(user, "close src")
				s.do(super, "lstat %s", name)
				// Pages written through a mapping reach the backing as writes,
				// which drop capabilities where a mapping of the file itself
				// does not. And the kernel removes them for a chown(-1, -1) before
				// it asks whether the caller may do that.
				if !strings.HasPrefix(change, "mmapwrite") && change != "chown %s -1 -1" {
					s.do(super, "getxattr %s security.capability", name)
				}
			}
		}
	}
	s.steps = append([]string{super + " open killsrc w|creat 0644 kf", super + " write kf source"}, s.steps...)
}

func unlinkedScript(s *script) {
	for _, typ := range []string{"file", "dir"} {
		for _, how := range []string{"unlink", "replace"} {
			name := s.make(owner, typ)
			flags := "rw"
			if typ == "dir" {
				flags = "r|dir"
			}
			s.do(owner, "open %s %s 0 u", name, flags)
			s.do(owner, "write u content")
			if how == "replace" {
				s.makeAt(owner, typ, name+".new")
				s.do(owner, "rename %s.new %s", name, name)
			} else if typ == "dir" {
				s.do(owner, "rmdir %s", name)
			} else {
				s.do(owner, "unlink %s", name)
			}
			s.do(owner, "fstat u")
			s.do(owner, "fchmod u 0640")
			s.do(owner, "fchown u -1 -1")
			s.do(super, "fchown u 1001 3000")
			s.do(owner, "fsetxattr u user.late value")
			s.do(owner, "ftruncate u 3")
			s.do(owner, "pread u 10 0")
			s.do(owner, "pwrite u abc 3")
			s.do(owner, "fallocate u 0 0 64")
			s.do(owner, "fsync u")
			s.do(owner, "reopen u r")
			s.do(owner, "linkfd u %s.back", name)
			s.do(owner, "open %s w|creat 0600", name)
			s.do(owner, "fstat u")
			s.do(owner, "lstat %s", name)
			s.do(owner, "close u")
		}
	}
	// Renamed over while open; names that move below an open directory.
	s.do(owner, "mkdir m1 0755")
	s.do(owner, "mkdir m1/in 0755")
	s.do(owner, "open m1/in r|dir 0 in")
	s.do(owner, "mkdir m2 0755")
	s.do(owner, "rename m1/in m2/moved")
	s.do(owner, "open in@x w|creat 0644")
	s.do(owner, "mkdir in@y 0755")
	s.do(owner, "lstat m2/moved/x")
	s.do(owner, "rename in@x in@z")
	s.do(owner, "unlink in@z")
	s.do(owner, "rmdir in@y")
	s.do(owner, "rmdir m2/moved")
	s.do(owner, "mkdir in@y 0755")
	s.do(owner, "open in@x w|creat 0644")
}

func tmpfileScript(s *script) {
	for _, user := range users {
		name := s.fresh("tmp")
		s.do(user, "open . rw|tmpfile 0640 t")
		s.do(user, "write t anonymous")
		s.do(user, "fstat t")
		s.do(user, "fchmod t 0600")
		s.do(user, "linkfd t %s", name)
		s.do(user, "linkfd t %s", name)
		s.do(super, "lstat %s", name)
		s.do(user, "cat %s", name)
		s.do(user, "fstat t")
		s.do(user, "close t")
		s.do(user, "open . rw|tmpfile|excl 0640 t")
		s.do(user, "linkfd t %s.2", name)
		s.do(user, "close t")
		s.do(user, "open . r|tmpfile 0640")
		s.do(user, "open nothing rw|tmpfile 0640")
		s.do(user, "open %s rw|tmpfile 0640", name)
	}
	s.do(owner, "mkdir ro 0555")
	s.do(other, "open ro rw|tmpfile 0640")
}

func xattrScript(s *script) {
	for _, typ := range fileTypes {
		for _, user := range users {
			name := s.make(owner, typ)
			for _, attr := range []string{"user.a", "trusted.a", "security.a", "system.a", "nonsense", "user.", "other.a"} {
				s.do(user, "lsetxattr %s %s value", name, attr)
				s.do(user, "lgetxattr %s %s", name, attr)
				s.do(super, "lgetxattr %s %s", name, attr)
			}
			s.do(super, "lsetxattr %s trusted.b root", name)
			s.do(super, "lsetxattr %s security.b root", name)
			for _, reader := range users {
				s.do(reader, "lgetxattr %s user.a", name)
				s.do(reader, "lgetxattr %s trusted.b", name)
				s.do(reader, "listxattr %s", name)
				s.do(reader, "listxattr %s 0", name)
				s.do(reader, "listxattr %s 5", name)
			}
			s.do(user, "removexattr %s user.a", name)
			s.do(user, "removexattr %s trusted.b", name)
			s.do(user, "removexattr %s user.none", name)
		}
	}
	name := s.make(owner, "file")
	s.do(owner, "setxattr %s user.x 1 2", name) // XATTR_REPLACE
	s.do(owner, "setxattr %s user.x 1 1", name) // XATTR_CREATE
	s.do(owner, "setxattr %s user.x 2 1", name)
	s.do(owner, "setxattr %s user.x 22 2", name)
	s.do(owner, "setxattr %s user.x 22 3", name)
	s.do(owner, "setxattr %s user.empty -", name)
	s.do(owner, "getxattr %s user.empty", name)
	s.do(owner, "getxattr %s user.x 0", name)
	s.do(owner, "getxattr %s user.x 1", name)
	s.do(owner, "setxattr %s user.%s v", name, long(250))
	s.do(owner, "setxattr %s user.%s v", name, long(251))
	for _, size := range []int{100, 1000, 3000, 65536, 65537} {
		s.do(owner, "setxattr %s user.big *%d", name, size)
		s.do(owner, "getxattr %s user.big", name)
		s.do(owner, "getxattr %s user.big 0", name)
	}
	s.do(owner, "mark %s", name)
	s.do(owner, "setxattr %s user.time v", name)
	s.do(owner, "moved %s", name)
	s.do(owner, "chmod %s 0", name)
	for _, user := range users {
		s.do(user, "setxattr %s user.perm v", name)
		s.do(user, "getxattr %s user.perm", name)
	}
}

// ACLs in their on-disk form: version 2, then tag, perm, id of each entry.
func acl(entries ...[3]uint32) string {
	b := "0x02000000"
	for _, e := range entries {
		id := e[2]
		b += fmt.Sprintf("%02x00%02x00%02x%02x%02x%02x", e[0], e[1], byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
	}
	return b
}

const (
	aclUserObj, aclUser, aclGroupObj, aclGroup, aclMask, aclOther = 1, 2, 4, 8, 16, 32
	aclNone                                                       = 0xffffffff
)

func aclScript(s *script) {
	const access, deflt = "system.posix_acl_access", "system.posix_acl_default"
	minimal := acl([3]uint32{aclUserObj, 6, aclNone}, [3]uint32{aclGroupObj, 4, aclNone}, [3]uint32{aclOther, 0, aclNone})
	named := acl([3]uint32{aclUserObj, 7, aclNone}, [3]uint32{aclUser, 6, 1003}, [3]uint32{aclGroupObj, 0, aclNone},
		[3]uint32{aclGroup, 4, 3000}, [3]uint32{aclMask, 6, aclNone}, [3]uint32{aclOther, 0, aclNone})
	broken := acl([3]uint32{aclUserObj, 7, aclNone}, [3]uint32{aclUser, 6, 1003}, [3]uint32{aclOther, 0, aclNone})
	for _, typ := range []string{"file", "dir", "fifo"} {
		for _, user := range users {
			name := s.make(owner, typ)
			for _, value := range []string{minimal, named, broken, "0x0100"} {
				s.do(user, "setxattr %s %s %s", name, access, value)
				s.do(super, "getxattr %s %s", name, access)
				s.do(super, "lstat %s", name)
				s.do(user, "setxattr %s %s %s", name, deflt, value)
				s.do(super, "getxattr %s %s", name, deflt)
			}
			s.do(user, "chmod %s 0640", name)
			s.do(super, "getxattr %s %s", name, access)
			s.do(user, "removexattr %s %s", name, access)
			s.do(super, "lstat %s", name)
		}
	}
	// Enforced.
	s.do(owner, "open secret w|creat 0600 f")
	s.do(owner, "write f text")
	s.do(owner, "close f")
	s.do(owner, "setxattr secret %s %s", access, named)
	for _, user := range users {
		s.do(user, "open secret r")
		s.do(user, "open secret rw")
		s.do(user, "access secret 4")
		s.do(user, "access secret 2")
	}
	// Inherited, in place of the umask.
	s.do(super, "umask 077")
	for _, user := range []string{super, owner, other} {
		for _, gid := range []int{0, 3000} {
			d := s.fresh("inherit")
			s.do(super, "mkdir %s 0777", d)
			s.do(super, "chmod %s 0777", d)
			s.do(super, "chown %s 0 %d", d, gid)
			s.do(super, "setxattr %s %s %s", d, deflt, named)
			s.do(user, "open %s/f w|creat 0666", d)
			s.do(user, "mkdir %s/d 0777", d)
			s.do(user, "mknod %s/p fifo 0666", d)
			s.do(user, "open %s rw|tmpfile 0666 t", d)
			s.do(user, "fstat t")
			s.do(user, "close t")
			for _, name := range []string{"f", "d", "p"} {
				s.do(super, "lstat %s/%s", d, name)
				s.do(super, "getxattr %s/%s %s", d, name, access)
				s.do(super, "getxattr %s/%s %s", d, name, deflt)
			}
		}
	}
	s.do(super, "umask 0")
	// Setting an ACL costs set-group-id where one does not belong to the group.
	for _, user := range []string{super, owner, multi} {
		name := s.make(owner, "file")
		s.do(super, "chown %s 1001 3000", name)
		s.do(super, "chmod %s 02755", name)
		s.do(user, "setxattr %s %s %s", name, access, minimal)
		s.do(super, "lstat %s", name)
	}
}

func flagsScript(s *script) {
	for _, flag := range []string{"i", "a"} {
		for _, typ := range []string{"file", "dir"} {
			name := s.make(owner, typ)
			open, remove := "r", "unlink"
			if typ == "dir" {
				s.do(owner, "open %s/in w|creat 0644", name)
				open, remove = "r|dir", "rmdir"
			}
			s.do(super, "open %s %s 0 fl", name, open)
			s.do(owner, "setflags fl %s", flag)
			s.do(super, "setflags fl %s", flag)
			s.do(super, "getflags fl")
			for _, user := range []string{super, owner} {
				for _, call := range []string{"chmod %s 0700", "lchown %s -1 -1", "utimens %s now now", "utimens %s 1.1 2.2", "truncate %s 3",
					"open %s w", "open %s w|append", "link %s ln%[1]s", "rename %s rn%[1]s", remove + " %s", "setxattr %s user.x v",
					"open %s/new w|creat 0644", "unlink %s/in", "rename %s/in %[1]s/out", "mkdir %s/nd 0755"} {
					s.do(user, call, name)
				}
			}
			s.do(super, "setflags fl -")
			s.do(super, "getflags fl")
			s.do(super, "close fl")
		}
	}
}

func ioctlScript(s *script) {
	s.do(owner, "open f rw|creat 0644 f")
	for _, cmd := range []string{"0x5801", "0x5421", "0x12345678"} { // unknown to the plain file, too
		s.do(owner, "ioctl f %s", cmd)
	}
	s.do(owner, "getflags f")
}

func spaceScript(s *script) {
	for _, user := range []string{super, owner} {
		name := s.fresh("sp")
		s.do(user, "open %s rw|creat 0644 f", name)
		s.do(user, "ftruncate f 1048576")
		s.do(user, "pwrite f middle 524288")
		for _, whence := range []string{"data", "hole"} {
			for _, off := range []int{0, 4096, 524288, 524294, 528384, 1048575, 1048576, 2000000, -1} {
				s.do(user, "lseek f %d %s", off, whence)
			}
		}
		// preallocate, keep size, punch, zero, collapse, insert, and nonsense
		for _, mode := range []int{0, 1, 3, 2, 16, 17, 8, 32, 64, 9, 128, 256} {
			s.do(user, "fallocate f %d 8192 4096", mode)
			s.do(user, "fstat f")
		}
		s.do(user, "fallocate f 0 0 2097152")
		s.do(user, "fstat f")
		s.do(user, "fallocate f 1 4194304 4096")
		s.do(user, "fallocate f 0 0 0")
		s.do(user, "fallocate f 0 -1 10")
		s.do(user, "fallocate f 0 10 -1")
		s.do(user, "fallocate f 0 9223372036854775000 4096")
		s.do(user, "fallocate f 8 100 100")
		s.do(user, "pread f 6 520192")
		s.do(user, "open %s.2 rw|creat 0644 g", name)
		s.do(user, "copyrange f g 100 524288 10")
		s.do(user, "fstat g")
		s.do(user, "copyrange f g 100 99999999 0")
		s.do(user, "copyrange g g 10 0 5")
		s.do(user, "copyrange g g 10 0 100")
		s.do(user, "fstat g")
		s.do(user, "open %s r 0 ro", name)
		s.do(user, "fallocate ro 0 0 10")
		s.do(user, "copyrange g ro 10 0 0")
		s.do(user, "mkdir %s.d 0755", name)
		s.do(user, "open %s.d r|dir 0 d", name)
		s.do(user, "fallocate d 0 0 10")
		s.do(user, "fsync d")
		s.do(user, "fsync f")
		s.do(user, "fdatasync f")
	}
	s.do(owner, "mkdir dd 0755")
	s.do(owner, "open dd/x w|creat 0644")
}

func appendScript(s *script) {
	s.do(owner, "open a w|creat 0644 plain")
	s.do(owner, "open a rw|append 0 app")
	s.do(owner, "write plain 11111")
	s.do(owner, "write app 22222")
	s.do(owner, "pwrite app 33333 0") // goes to the end on Linux
	s.do(owner, "write plain 44444")
	s.do(owner, "cat a")
	s.do(owner, "setfl app rw") // no longer appends
	s.do(owner, "pwrite app XX 1")
	s.do(owner, "cat a")
	s.do(owner, "setfl app append")
	s.do(owner, "write app tail")
	s.do(owner, "setfl plain append")
	s.do(owner, "write plain END")
	s.do(owner, "cat a")
	s.do(owner, "mmapwrite app 3 mm")
	s.do(owner, "write app after")
	s.do(owner, "cat a")
	s.do(owner, "fstat a")
}

func locksScript(s *script) {
	s.do(owner, "open l rw|creat 0666 a")
	s.do(other, "open l rw 0 b")
	s.do(owner, "flock a ex")
	s.do(other, "flock b sh")
	s.do(owner, "flock a sh")
	s.do(other, "flock b sh")
	s.do(other, "flock b ex")
	s.do(owner, "flock a un")
	s.do(other, "flock b ex")
	s.do(owner, "ofdlock a w 0 10")
	s.do(other, "ofdlock b w 5 10")
	s.do(other, "ofdlock b w 10 10")
	s.do(other, "ofdtest b r 0 0")
	s.do(owner, "ofdlock a r 0 10")
	s.do(other, "ofdlock b r 5 5")
	s.do(other, "ofdlock b w 5 5")
	s.do(owner, "close a")
	s.do(other, "ofdlock b w 5 5")
}

// deepScript walks further down than any path reaches.
func deepScript(s *script) {
	s.do(owner, "open . r|dir 0 top")
	name := long(200)
	for range 40 { // 8,000 bytes
		s.do(owner, "mkdir %s 0755", name)
		s.do(owner, "chdir %s", name)
	}
	s.do(owner, "open file rw|creat 0644 f")
	s.do(owner, "write f deep")
	s.do(owner, "cat file")
	s.do(owner, "stat file")
	s.do(owner, "chmod file 0600")
	s.do(owner, "fchmod f 0640")
	s.do(owner, "setxattr file user.deep v")
	s.do(owner, "link file file2")
	s.do(owner, "symlink file sl")
	s.do(owner, "readlink sl")
	s.do(owner, "truncate file 2")
	s.do(owner, "utimens file 5.5 6.6")
	s.do(owner, "times file")
	s.do(owner, "rename file2 file3")
	s.do(owner, "open . rw|tmpfile 0644 t")
	s.do(owner, "ls .")
	s.do(owner, "unlink file3")
	s.do(owner, "unlink sl")
	s.do(owner, "unlink file")
	s.do(owner, "fstat f")
	for range 40 {
		s.do(owner, "chdir ..")
		s.do(owner, "rmdir %s", name)
	}
	s.do(owner, "ls .")
	s.do(owner, "fchdir top")
	s.do(owner, "ls .")
}

func accessScript(s *script) {
	for _, typ := range []string{"file", "dir", "fifo", "link"} {
		for _, mode := range []string{"0", "0100", "0010", "0001", "0700", "0070", "0007", "0755", "0640", "0222"} {
			name := s.make(owner, typ)
			s.do(owner, "chmod %s %s", name, mode)
			for _, user := range []string{super, owner, mate, other} {
				for mask := range 8 {
					s.do(user, "access %s %d", name, mask)
				}
			}
		}
	}
}

func datesScript(s *script) {
	s.do(owner, "open f w|creat 0644")
	s.do(owner, "mkdir d 0755")
	s.do(owner, "symlink f l")
	for _, name := range []string{"f", "d", "l"} {
		for _, sec := range []string{"0.0", "-1.0", "-1.5", "-86400.999999999", "-2147483648.0", "-2147483649.0", "2147483647.999999999",
			"2147483648.0", "4294967295.0", "4294967296.123456789", "7289654400.0", "15032385535.5", "253402300799.0", "-9999999999.1"} {
			s.do(owner, "lutimens %s %s %s", name, sec, sec)
			s.do(owner, "times %s", name)
		}
	}
}

func mmapScript(s *script) {
	s.do(owner, "open m rw|creat 0644 f")
	s.do(owner, "ftruncate f 4096")
	s.do(owner, "mark m")
	s.do(owner, "mmapwrite f 10 mapped")
	s.do(owner, "moved m")
	s.do(owner, "pread f 6 10")
	s.do(owner, "open m r 0 g")
	s.do(owner, "pread g 6 10")
	s.do(owner, "mmapwrite g 10 denied")
	s.do(owner, "open m rw|direct 0 dio")
	s.do(owner, "mmapwrite dio 20 direct")
	s.do(owner, "pread f 6 20")
	s.do(owner, "pwrite f buffered 30")
	s.do(owner, "pread g 8 30")
}

// ctimesScript: which times a call moves, of the file and of its directory.
func ctimesScript(s *script) {
	calls := []string{"chmod %s/f 0600", "lchown %s/f -1 -1", "lchown %s/f 1001 1001", "link %s/f %[1]s/g", "rename %s/f %[1]s/f2", "truncate %s/f 4",
		"open %s/new w|creat 0644", "open %s/f w", "open %s/f r", "open %s/f w|trunc", "mkdir %s/nd 0755", "symlink x %s/nl", "mknod %s/np fifo 0644",
		"utimens %s/f now omit", "utimens %s/f omit now", "utimens %s/f 1.1 2.2", "setxattr %s/f user.a b", "stat %s/f", "ls %s", "chmod %s/f 0644", "write w x",
		"ftruncate w 0", "fallocate w 0 0 5", "fallocate w 1 0 100"}
	for _, call := range calls {
		d := s.fresh("c")
		s.do(owner, "mkdir %s 0755", d)
		s.do(owner, "open %s/f rw|creat 0644 w", d)
		s.do(owner, "mark %s", d)
		s.do(owner, "mark %s/f", d)
		if strings.Contains(call, "%s") {
			s.do(owner, call, d)
		} else {
			s.do(owner, "%s", call)
		}
		s.do(owner, "moved %s", d)
		s.do(owner, "moved %s/f", d)
		s.do(owner, "close w")
	}
}

// failuresScript: a call that fails moves no times, nor does anything else.
func failuresScript(s *script) {
	s.do(owner, "mkdir d 0755")
	s.do(owner, "mkdir d/sub 0755")
	s.do(owner, "open d/f w|creat 0644")
	s.do(owner, "symlink f d/l")
	s.do(owner, "open mine w|creat 0666")
	s.do(owner, "mark d d/sub d/f d/l mine")
	calls := []string{"mkdir d/%s 0755", "mknod d/%s fifo 0644", "mknod d/%s file 0644", "symlink x d/%s", "open d/%s w|creat|excl 0644",
		"link mine d/%s", "link d/f d/%s", "rename mine d/%s 1", "rename d/f d/%s 1", "bind d/%s"}
	var failing []string
	for _, call := range calls {
		for _, name := range []string{"f", "l", "sub"} {
			failing = append(failing, owner+" "+fmt.Sprintf(call, name))
		}
		failing = append(failing, other+" "+fmt.Sprintf(call, "new"))
	}
	for _, call := range []string{"rename d/f d/sub", "rename d/sub d/f", "rename d d/sub", "rename d/sub/none d/x", "rmdir d/f", "rmdir d", "rmdir d/none",
		"unlink d/sub", "unlink d/none", "truncate d/f -1", "truncate d/sub 0", "open d/sub w", "open d/f r|dir", "open d/l r|nofollow",
		"removexattr d/f user.none", "setxattr d/f user.none v 2", "setxattr d/f user.big *65537", "utimens d/f omit omit", "rename d/f d/f"} {
		failing = append(failing, owner+" "+call)
	}
	for _, call := range []string{"chmod d/f 0600", "chmod d 0777", "lchown d/f 1003 -1", "lchown d/l 1003 -1", "truncate d/f 5", "open d/f w|trunc", "utimens d/f 1.1 2.2",
		"utimens d/f now now", "lutimens d/l now now", "setxattr d/f user.a b", "rename d/f d/g", "rename d/f d/sub/f", "rename mine d/f", "unlink d/f", "rmdir d/sub",
		"link d/f d/sub/g", "rename d/f d/l 2", "open d rw|tmpfile 0644"} {
		failing = append(failing, other+" "+call)
	}
	for _, step := range failing {
		user, call, _ := strings.Cut(step, " ")
		s.do(user, "%s", call)
		s.do(super, "moved d d/sub d/f d/l mine")
	}
	s.do(super, "ls d")
	s.do(super, "lstat d/f")
}

// busyScript: what is being executed cannot be written, but have other names.
func busyScript(s *script) {
	s.do(super, "copy /bin/cat exe")
	s.do(super, "chmod exe 0777")
	s.do(owner, "run exe")
	for _, user := range []string{super, owner} {
		for _, call := range []string{"open exe w", "open exe rw", "open exe w|append", "open exe w|trunc", "open exe w|creat|trunc 0644", "truncate exe 0", "truncate exe 5",
			"open exe r", "chmod exe 0755", "setxattr exe user.a v", "utimens exe now now", "link exe exe2", "rename exe2 exe3", "unlink exe3", "stat exe"} {
			s.do(user, "%s", call)
		}
	}
	s.do(super, "link exe other")
	s.do(super, "unlink exe")
	s.do(super, "truncate other 0")
	s.do(super, "stop")
	s.do(super, "truncate other 0")
	s.do(super, "stat other")
}
