// Package fs is a go-fuse node tree that serves a backing directory and sends
// all file data through an [IO], normally the io_uring reactor.
package fs
