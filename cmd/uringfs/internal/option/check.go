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
		{s.Tree.RemoteLocks && s.Mount.MaxInflightBytes > 0,
			"remote_locks and max_inflight: requests that wait for a lock could keep the one out that releases it", "leave one out"},
		{s.Mount.ReadDirPlus == mount.ReadDirPlusOn && s.Tree.AttrTimeout == 0 && s.Tree.EntryTimeout == 0,
			"readdirplus=on with attr_timeout=0 and entry_timeout=0: nobody could use what it fetches", "leave readdirplus out"},
		{s.Engine == EngineSync && s.Reactor.Timeout > 0, "engine=sync and io_timeout: a blocking call cannot be given up", "leave one out"},
		{s.Engine == EngineSync && s.Uncached, "engine=sync and backing_uncached: only the ring asks for uncached I/O", "leave one out"},
		{s.Engine == EngineSync && s.Mount.Transport == mount.TransportUring,
			"engine=sync and transport=uring: that transport lives on rings", "use transport=dev"},
		{s.Tree.Passthrough && s.Reactor.Timeout > 0, "passthrough and io_timeout: the kernel's own I/O has no deadline", "leave one out"},
		{s.Tree.Passthrough && s.Engine == EngineSync, "passthrough and engine=sync: no engine is in the way of passed I/O", "leave one out"},
		{s.Tree.Passthrough && s.Tree.WritebackCache, "passthrough and writeback_cache: the mount has no cache of passed files", "leave one out"},
		{s.Tree.Passthrough && s.Tree.KeepCache, "passthrough and kernel_cache: the mount has no cache of passed files", "leave one out"},
		{s.Tree.Passthrough && s.Tree.DirectIO, "passthrough and direct_io: the first goes past the daemon, the second to it", "leave one out"},
		{s.Tree.Passthrough && s.Tree.BackingDirect, "passthrough and backing_direct: passed O_DIRECT reaches the files of SOURCE anyway", "leave backing_direct out"},
		{s.Tree.Passthrough && s.Uncached, "passthrough and backing_uncached: the kernel uses the page cache of SOURCE", "leave one out"},
		{s.Tree.Passthrough && s.Tree.NoAtime, "passthrough and noatime: the kernel's own reads move the access times of SOURCE", "leave one out, or mount SOURCE with noatime"},
	} {
		if c.both {
			return &Error{msg: c.why, hint: c.hint}
		}
	}
	return nil
}
