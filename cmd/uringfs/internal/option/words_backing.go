package option

var backingWords = []*Option{
	{Name: "backing_direct", Group: Backing, Help: "pass O_DIRECT on to the files of SOURCE, for requests that are aligned; without it O_DIRECT bypasses the cache of the mount alone",
		set: func(s *Settings, _ string) error { s.Tree.BackingDirect = true; return nil }},
	{Name: "backing_uncached", Group: Backing, Help: "leave nothing in the page cache of SOURCE, if its filesystem can do that (Linux 6.14; ext4, XFS, btrfs)",
		set: func(s *Settings, _ string) error { s.Uncached = true; return nil }},
	{Name: "passthrough", Group: Backing, Help: "let the kernel read and write the files of SOURCE itself, past the daemon and all that it does to I/O (root; Linux 6.9)",
		set: func(s *Settings, _ string) error { s.Tree.Passthrough = true; return nil }},
	{Name: "remote_locks", Group: Backing, Help: "take flock(2) and fcntl(2) locks on the files of SOURCE as well",
		set: func(s *Settings, _ string) error { s.Tree.RemoteLocks = true; return nil }},
	{Name: "nfsexport", Group: Backing, Help: "keep the mount's own file handles valid as long as the daemon runs, for NFS",
		set: func(s *Settings, _ string) error { s.Tree.NFSExport = true; return nil }},
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
	{Name: "workers", Arg: "COUNT", Group: Backing, Help: "most threads for reads and writes of a SOURCE that blocks, such as NFS or FUSE (default: 240)",
		set: func(s *Settings, v string) error {
			if err := setWorkers(&s.Reactor.Workers, v); err != nil {
				return err
			}
			s.Mount.Workers = s.Reactor.Workers
			return nil
		}},
}
