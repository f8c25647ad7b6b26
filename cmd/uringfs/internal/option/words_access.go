package option

var accessWords = []*Option{
	{Name: "allow_other", Group: Access, Help: "let all users in; brings default_permissions along. Ordinary users need user_allow_other in /etc/fuse.conf",
		set: func(s *Settings, _ string) error { s.Mount.AllowOther = true; return nil }},
	{Name: "default_permissions", Group: Access, Help: "let the kernel check file modes",
		set: func(s *Settings, _ string) error { s.Mount.DefaultPermissions = true; return nil }},
	{Name: "fsname", Arg: "NAME", Group: Access, Help: "first column of df and /proc/mounts (default: SOURCE)",
		set: func(s *Settings, v string) error { s.Mount.FSName = v; return nil }},
	{Name: "subtype", Arg: "TYPE", Group: Access, Help: "show the type as fuse.TYPE (default: uringfs)",
		set: func(s *Settings, v string) error { s.Mount.Subtype = v; return nil }},
	{Name: "nonempty", Group: Access, Help: "mount over a directory that has entries; they are hidden meanwhile",
		set: func(s *Settings, _ string) error { s.Mount.NonEmpty = true; return nil }},
}
