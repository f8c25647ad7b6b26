package option

var backingWords = []*Option{
	{Name: "backing_direct", Group: Backing, Help: "pass O_DIRECT on to the files of SOURCE; without it O_DIRECT bypasses the cache of the mount alone",
		set: func(s *Settings, _ string) error { s.Tree.BackingDirect = true; return nil }},
	{Name: "acl", Group: Backing, Help: "enforce POSIX ACLs",
		set: func(s *Settings, _ string) error { s.Tree.ACL = true; return nil }},
	{Name: "noacl", Group: Backing, Help: "keep ACLs, but let only modes decide (default)",
		set: func(s *Settings, _ string) error { s.Tree.ACL = false; return nil }},
	{Name: "noxattr", Group: Backing, Help: "no extended attributes",
		set: func(s *Settings, _ string) error { s.Tree.NoXattr = true; return nil }},
	{Name: "max_node_fds", Arg: "COUNT", Group: Backing, Help: "most descriptors held for cached inodes (default: from the limit of open files)",
		set: func(s *Settings, v string) error { return setCount(&s.Tree.MaxNodeFDs, v) }},
	{Name: "engine", Values: []string{EngineUring, EngineSync}, Group: Backing, Help: "do file I/O by io_uring, or by blocking calls on hosts that forbid it (default: uring)",
		set: func(s *Settings, v string) error { s.Engine = v; return nil }},
	{Name: "io_timeout", Arg: "SECONDS", Group: Backing, Help: "a read or write that takes longer gives ETIMEDOUT, and the mount goes on (default: none)",
		set: func(s *Settings, v string) error { return setTimeout(&s.Reactor.Timeout, v) }},
	{Name: "workers", Arg: "COUNT", Group: Backing, Help: "most threads for a SOURCE that blocks, such as NFS or FUSE (default: 256)",
		set: func(s *Settings, v string) error { return setCount(&s.Reactor.Workers, v) }},
}
