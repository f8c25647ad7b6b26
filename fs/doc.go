// Package fs is a go-fuse node tree that serves a backing directory and sends
// all file data through an [IO], normally the io_uring reactor.
//
// [New] opens the directory, [Tree.FuseOptions] says what go-fuse and the
// kernel have to offer, and [Tree.RawFileSystem] is what a server serves:
//
//	tree, err := fs.New("/srv/data", fs.Options{IO: io, AttrTimeout: time.Second})
//	opts := tree.FuseOptions()
//	server, err := fuse.NewServer(tree.RawFileSystem(&opts), "/mnt", &opts.MountOptions)
//
// # How it works
//
// A node is one backing inode, whatever its names are: an O_PATH descriptor,
// found by (device, inode, birth time). Every operation is relative to such a
// descriptor, so no path is ever walked twice: renames behind the mount,
// unlinked files, paths beyond PATH_MAX and symlinks put in the way do not
// matter, and nothing outside the source can be reached. When descriptors run
// short, nodes exchange theirs for file handles (open_by_handle_at(2)).
//
// The kernel checks permissions (mount with default_permissions whenever
// others than the daemon's user may enter). What creates an inode runs with the
// caller's fsuid, fsgid and groups, so that the backing decides owner and
// inherited bits as it would for the caller itself.
//
// # What the process must see to
//
// The process's umask must be 0: the tree applies the caller's. /proc must be
// mounted. The daemon must not reach into its own mount: every request that
// waits for itself is a deadlock.
package fs
