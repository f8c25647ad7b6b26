package option

import "github.com/uringfs/uringfs/mount"

var cachingWords = []*Option{
	{Name: "attr_timeout", Arg: "SECONDS", Group: Caching, Help: "how long the kernel may keep attributes, and changes in SOURCE may take to show in open files (default: 1)",
		set: func(s *Settings, v string) error { return setTimeout(&s.Tree.AttrTimeout, v) }},
	{Name: "entry_timeout", Arg: "SECONDS", Group: Caching, Help: "how long the kernel may keep names (default: 1)",
		set: func(s *Settings, v string) error { return setTimeout(&s.Tree.EntryTimeout, v) }},
	{Name: "negative_timeout", Arg: "SECONDS", Group: Caching, Help: "how long the kernel may keep that a name does not exist (default: 0)",
		set: func(s *Settings, v string) error { return setTimeout(&s.Tree.NegativeTimeout, v) }},
	{Name: "auto_cache", Group: Caching, Help: "keep a file's cached data across opens while its size and times are unchanged (default)",
		set: func(s *Settings, _ string) error { s.Tree.KeepCache = false; return nil }},
	{Name: "kernel_cache", Group: Caching, Help: "keep it whatever happens to the file behind the mount",
		set: func(s *Settings, _ string) error { s.Tree.KeepCache = true; return nil }},
	{Name: "writeback_cache", Group: Caching, Help: "let the kernel collect writes; nobody else should write to SOURCE meanwhile",
		set: func(s *Settings, _ string) error { s.Tree.WritebackCache = true; return nil }},
	{Name: "direct_io", Group: Caching, Help: "pass every read and write to the daemon, past the page cache of the mount",
		set: func(s *Settings, _ string) error { s.Tree.DirectIO = true; return nil }},
	{Name: "readdirplus", Values: []string{"auto", "on", "off"}, Group: Caching, Help: "fetch attributes along with names: where it pays, always or never (default: auto)",
		set: func(s *Settings, v string) error { s.Mount.ReadDirPlus = mount.ReadDirPlus(v); return nil }},
}
