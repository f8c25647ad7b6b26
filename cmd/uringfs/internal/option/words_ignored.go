package option

// ignoredWords mean nothing here but stand in people's fstab: mount(8)'s own
// words for other programs, and libfuse words for what is always so.
var ignoredWords = func() []*Option {
	var list []*Option
	for _, w := range []struct{ name, help string }{
		{"auto", "for mount -a"},
		{"noauto", "for mount -a"},
		{"user", "for mount(8)"},
		{"nouser", "for mount(8)"},
		{"users", "for mount(8)"},
		{"nousers", "for mount(8)"},
		{"owner", "for mount(8)"},
		{"noowner", "for mount(8)"},
		{"group", "for mount(8)"},
		{"nogroup", "for mount(8)"},
		{"_netdev", "for the init system"},
		{"nofail", "for the init system"},
		{"silent", "for mount(8)"},
		{"loud", "for mount(8)"},
		{"mand", "gone from the kernel"},
		{"nomand", "gone from the kernel"},
		{"iversion", "the backing directory decides"},
		{"noiversion", "the backing directory decides"},
		{"async_read", "always so"},
		{"atomic_o_trunc", "always so"},
		{"big_writes", "always so"},
		{"large_read", "always so"},
		{"hard_remove", "always so"},
		{"use_ino", "always so"},
		{"readdir_ino", "always so"},
		{"intr", "always so"},
		{"clone_fd", "of no use here"},
		{"no_splice_read", "always so"},
		{"no_splice_write", "always so"},
		{"no_splice_move", "always so"},
		{"no_remote_lock", "the default"},
		{"no_remote_posix_lock", "the default"},
		{"no_remote_flock", "the default"},
	} {
		list = append(list, &Option{Name: w.name, Group: Ignored, Help: w.help, set: ignore})
	}
	return append(list,
		&Option{Name: "comment", Arg: "TEXT", Group: Ignored, Help: "for people", set: ignore},
		&Option{Name: "context", Arg: "LABEL", Group: Ignored, Help: "for SELinux", set: ignore},
	)
}()

func ignore(*Settings, string) error { return nil }

// refused are words of mount(8) and libfuse that cannot be had, with the reason.
var refused = map[string]struct{ why, instead string }{
	"allow_root":   {"is not supported", "use allow_other; modes keep other users out"},
	"fd":           {"the connection is made by uringfs itself", ""},
	"rootmode":     {"is set by uringfs itself", ""},
	"user_id":      {"is set by uringfs itself", ""},
	"group_id":     {"is set by uringfs itself", ""},
	"blkdev":       {"uringfs serves a directory, not a block device", ""},
	"blksize":      {"is for block devices", ""},
	"bind":         {"a bind mount needs no daemon", "mount --bind SOURCE MOUNTPOINT"},
	"rbind":        {"a bind mount needs no daemon", "mount --rbind SOURCE MOUNTPOINT"},
	"move":         {"is mount(8)'s own work", "mount --move OLD NEW"},
	"loop":         {"uringfs serves a directory, not an image", ""},
	"splice_read":  {"splicing is slower than copying here and is off", ""},
	"splice_write": {"splicing is slower than copying here and is off", ""},
	"splice_move":  {"splicing is slower than copying here and is off", ""},
	"sync_read":    {"one read at a time would idle the ring", ""},
	"modules":      {"libfuse modules do not exist here", ""},
	"uid":          {"owners are not translated", "an id-mapped mount does that in the kernel: mount -o X-mount.idmap"},
	"gid":          {"owners are not translated", "an id-mapped mount does that in the kernel: mount -o X-mount.idmap"},
	"umask":        {"modes are not translated", "set modes in SOURCE; the umask of the caller applies as usual"},
	"noforget":     {"inodes are kept as the kernel asks", ""},
	"remember":     {"inodes are kept as the kernel asks", ""},
	"max_threads":  {"there is no pool of threads to bound", "workers bounds those for a SOURCE that blocks"},
	"setuid":       {"starting as another user is not mount's work", "run uringfs with setpriv(1) or User= of systemd"},
}
