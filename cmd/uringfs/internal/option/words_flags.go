package option

import "golang.org/x/sys/unix"

var flagWords = []*Option{
	flag("ro", unix.MS_RDONLY, "read-only"),
	unflag("rw", unix.MS_RDONLY, "read-write (default)"),
	{Name: "suid", Group: Behaviour, Help: "honour set-user-ID and set-group-ID bits and file capabilities (root only; what mount(8) and /etc/fstab mean without nosuid, if SOURCE honours them)",
		set: func(s *Settings, _ string) error { s.Mount.Suid = true; return nil }},
	{Name: "nosuid", Group: Behaviour, Help: "ignore these bits and capabilities (default)",
		set: func(s *Settings, _ string) error { s.Mount.Suid = false; return nil }},
	{Name: "dev", Group: Behaviour, Help: "let device files be opened (root only; what mount(8) and /etc/fstab mean without nodev, if SOURCE lets them)",
		set: func(s *Settings, _ string) error { s.Mount.Dev = true; return nil }},
	{Name: "nodev", Group: Behaviour, Help: "do not let device files be opened (default)",
		set: func(s *Settings, _ string) error { s.Mount.Dev = false; return nil }},
	unflag("exec", unix.MS_NOEXEC, "let programs be run (default)"),
	flag("noexec", unix.MS_NOEXEC, "do not let programs be run"),
	{Name: "atime", Group: Behaviour, Help: "let reads update access times (default; the rules of SOURCE's own mount apply)",
		set: func(s *Settings, _ string) error { return s.setNoAtime(false) }},
	{Name: "noatime", Group: Behaviour, Help: "leave access times alone, on the mount and in SOURCE",
		set: func(s *Settings, _ string) error { return s.setNoAtime(true) }},
	unflag("diratime", unix.MS_NODIRATIME, "undo nodiratime"),
	flag("nodiratime", unix.MS_NODIRATIME, "set this flag alone; access times of directories follow SOURCE's own mount, or noatime"),
	flag("relatime", unix.MS_RELATIME, "set this flag alone; access times follow SOURCE's own mount (default)"),
	unflag("norelatime", unix.MS_RELATIME, "undo relatime"),
	flag("strictatime", unix.MS_STRICTATIME, "set this flag alone; access times follow SOURCE's own mount"),
	unflag("nostrictatime", unix.MS_STRICTATIME, "undo strictatime"),
	flag("lazytime", unix.MS_LAZYTIME, "set this flag alone; time stamps are written as SOURCE's own mount says"),
	unflag("nolazytime", unix.MS_LAZYTIME, "undo lazytime"),
	flag("sync", unix.MS_SYNCHRONOUS, "have every write followed by an fsync"),
	unflag("async", unix.MS_SYNCHRONOUS, "write data when it suits the kernel (default)"),
	flag("dirsync", unix.MS_DIRSYNC, "set this flag alone; directory changes are written as SOURCE's own mount says"),
	flag("nosymfollow", unix.MS_NOSYMFOLLOW, "do not follow symbolic links on the mount"),
	unflag("symfollow", unix.MS_NOSYMFOLLOW, "follow symbolic links (default)"),
	{Name: "defaults", Group: Behaviour, Help: "nothing: a placeholder for /etc/fstab",
		set: func(*Settings, string) error { return nil }},
	{Name: "remount", Group: Behaviour, Help: "change the mount flags given (ro, noexec and the like) of a mount that exists; all other options stay",
		set: func(s *Settings, _ string) error { s.Remount = true; return nil }},
}

func flag(name string, bit uintptr, help string) *Option {
	return &Option{Name: name, Group: Behaviour, Help: help,
		set: func(s *Settings, _ string) error { s.Mount.Flags |= bit; return nil }}
}

func unflag(name string, bit uintptr, help string) *Option {
	return &Option{Name: name, Group: Behaviour, Help: help,
		set: func(s *Settings, _ string) error { s.Mount.Flags &^= bit; return nil }}
}

// setNoAtime sets both halves: the kernel keeps the access times of the mount,
// the tree those of the backing files.
func (s *Settings) setNoAtime(on bool) error {
	s.Mount.Flags &^= unix.MS_NOATIME
	if on {
		s.Mount.Flags |= unix.MS_NOATIME
	}
	s.Tree.NoAtime = on
	return nil
}
