// Package mount attaches a go-fuse tree to a directory and takes it off
// again.
//
// For most uses:
//
//	m, err := mount.New(tree, "/mnt", mount.Options{Source: "/srv/data"})
//	if err != nil {
//		return err
//	}
//	defer m.Unmount(mount.Stages{})
//	m.Wait()
//
// The package makes the FUSE connection itself, with mount(2) where the process
// has CAP_SYS_ADMIN and with fusermount3 otherwise, and hands it to a transport,
// which moves the requests. So every transport shares the checks, the mount
// flags, the readiness and the way out.
//
// # Deadlocks
//
// A process that touches its own mount can wait for itself for ever. New
// therefore refuses a source that contains the mountpoint, and nothing in this
// package stats the mountpoint once it is mounted: device numbers come from
// /proc/self/mountinfo. Callers must keep to the same rule.
package mount
