package option

import "github.com/uringfs/uringfs/mount"

// Check refuses combinations that cannot work, with the reason.
func (s *Settings) Check() error {
	for _, c := range []struct {
		both      bool
		why, hint string
	}{
		{s.Tree.ACL && s.Tree.NoXattr, "acl and noxattr: ACLs are kept in extended attributes", "leave one out"},
		{s.Tree.DirectIO && s.Tree.WritebackCache, "direct_io and writeback_cache: the first bypasses the cache that the second fills", "leave one out"},
		{s.Tree.DirectIO && s.Tree.KeepCache, "direct_io and kernel_cache: the first bypasses the cache that the second keeps", "leave one out"},
		{s.Mount.ReadDirPlus == mount.ReadDirPlusOn && s.Tree.AttrTimeout == 0 && s.Tree.EntryTimeout == 0,
			"readdirplus=on with attr_timeout=0 and entry_timeout=0: nobody could use what it fetches", "leave readdirplus out"},
		{s.Engine == EngineSync && s.Reactor.Timeout > 0, "engine=sync and io_timeout: a blocking call cannot be given up", "leave one out"},
		{s.Engine == EngineSync && s.Uncached, "engine=sync and backing_uncached: only the ring asks for uncached I/O", "leave one out"},
		{s.Engine == EngineSync && s.Mount.Transport == mount.TransportUring,
			"engine=sync and transport=uring: that transport lives on rings", "use transport=dev"},
	} {
		if c.both {
			return &Error{msg: c.why, hint: c.hint}
		}
	}
	return nil
}
