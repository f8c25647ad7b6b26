package option

// ignoredWords mean nothing here but stand in people's fstab: mount(8)'s own
// words for other programs, and libfuse words for what is always so.
var ignoredWords = func() []*Option {
	var list []*Option
	for _, w := range []struct{ name, help string }{
		{"auto", "for mount -a"},
		{"noauto", "for mount -a"},
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
		{"nopath", "always so"},
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
		// mount(8) adds the name of the user.
		&Option{Name: "user", Loose: true, Group: Ignored, Help: "for mount(8)", set: ignore},
		&Option{Name: "comment", Arg: "TEXT", Group: Ignored, Help: "for people", set: ignore},
		&Option{Name: "ac_attr_timeout", Arg: "SECONDS", Group: Ignored, Help: "auto_cache looks at a file whenever it is opened", set: ignore},
		&Option{Name: "intr_signal", Arg: "NUMBER", Group: Ignored, Help: "interrupts are no signals here", set: ignore},
	)
}()

func ignore(*Settings, string) error { return nil }

// shown are options of FUSE itself that /proc/mounts shows, from where mount(8)
// takes them for a remount. They stay as they are then.
var shown = map[string]bool{"fd": true, "rootmode": true, "user_id": true, "group_id": true, "blksize": true}

// refused are words of mount(8) and libfuse that cannot be had, with the reason.
var refused = map[string]struct{ why, instead string }{
	"allow_root":   {"not supported", "use allow_other; modes keep other users out"},
	"fd":           {"the connection is made by uringfs itself", ""},
	"rootmode":     {"set by uringfs itself", ""},
	"user_id":      {"set by uringfs itself", ""},
	"group_id":     {"set by uringfs itself", ""},
	"blkdev":       {"uringfs serves a directory, not a block device", ""},
	"blksize":      {"for block devices alone", ""},
	"bind":         {"a bind mount needs no daemon", "mount --bind SOURCE MOUNTPOINT"},
	"rbind":        {"a bind mount needs no daemon", "mount --rbind SOURCE MOUNTPOINT"},
	"move":         {"mount(8)'s own work", "mount --move OLD NEW"},
	"loop":         {"uringfs serves a directory, not an image", ""},
	"splice_read":  {"splicing is slower than copying here and is off", ""},
	"splice_write": {"splicing is slower than copying here and is off", ""},
	"splice_move":  {"splicing is slower than copying here and is off", ""},
	"sync_read":    {"one read at a time would idle the ring", ""},
	"modules":      {"libfuse modules do not exist here", ""},
	"uid":          {"owners are not translated", idmapped},
	"gid":          {"owners are not translated", idmapped},
	"umask":        {"modes are not translated", callersUmask},
	"fmask":        {"modes are not translated", callersUmask},
	"dmask":        {"modes are not translated", callersUmask},
	"noforget":     {"inodes are kept as the kernel asks", ""},
	"remember":     {"inodes are kept as the kernel asks", ""},
	"setuid":       {"starting as another user is not mount's work", "run uringfs with setpriv(1) or User= of systemd"},

	"max_threads":      {noPool, "workers bounds those for a SOURCE that blocks"},
	"max_idle_threads": {noPool, "workers bounds those for a SOURCE that blocks"},
	"drop_privileges":  {"done anyway", "confine=on makes sure of it"},
	"io_uring":         {"a word of libfuse", "transport=uring"},
	"io_uring_q_depth": {"a word of libfuse", "uring_depth=COUNT"},
	"nolocalcaches":    {"a word of macFUSE", "attr_timeout=0,entry_timeout=0,direct_io"},
	"context":          {noLabels, allLabels},
	"fscontext":        {noLabels, allLabels},
	"defcontext":       {noLabels, allLabels},
	"rootcontext":      {noLabels, allLabels},
}

// What several of them say.
const (
	idmapped     = "serve an id-mapped view of SOURCE: mount --bind -o X-mount.idmap=MAP SOURCE VIEW"
	callersUmask = "set modes in SOURCE; the umask of the caller applies as usual"
	noPool       = "there is no pool of threads to bound"
	noLabels     = "SELinux labels are not passed on"
	allLabels    = "leave it out; the policy labels all FUSE mounts alike"
)
