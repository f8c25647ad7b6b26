package option

import "github.com/uringfs/uringfs/mount"

var requestWords = []*Option{
	{Name: "transport", Values: transports(), Group: Requests, Help: "how requests come from the kernel: FUSE-over-io_uring, /dev/fuse, or the best there is (default: auto)",
		set: func(s *Settings, v string) error { s.Mount.Transport = mount.Transport(v); return nil }},
	{Name: "uring_depth", Arg: "COUNT", Group: Requests, Help: "most requests that the FUSE-over-io_uring queue of each CPU holds (default: 1024)",
		set: func(s *Settings, v string) error { return setCount(&s.Mount.UringDepth, v) }},
	{Name: "uring_memory", Arg: "BYTES", Group: Requests, Help: "most memory for the buffers of these queues, at the expense of their depth (default: a quarter of the machine's)",
		set: func(s *Settings, v string) error { return setSize(&s.Mount.UringMemory, v) }},
	{Name: "max_write", Arg: "BYTES", Group: Requests, Help: "largest write request (default: 1M)",
		set: func(s *Settings, v string) error { return setSize(&s.Mount.MaxWrite, v) }},
	{Name: "max_read", Arg: "BYTES", Group: Requests, Help: "largest read request (default: max_write)",
		set: func(s *Settings, v string) error { return setSize(&s.Mount.MaxRead, v) }},
	{Name: "max_readahead", Arg: "BYTES", Group: Requests, Help: "how far the kernel reads ahead (default: as the kernel likes)",
		set: func(s *Settings, v string) error { return setSize(&s.Mount.MaxReadAhead, v) }},
	{Name: "max_background", Arg: "COUNT", Group: Requests, Help: "most readahead, writeback and asynchronous requests in flight (default: 256)",
		set: func(s *Settings, v string) error { return setCount(&s.Mount.MaxBackground, v) }},
	{Name: "congestion_threshold", Arg: "COUNT", Group: Requests, Help: "how many of these make the kernel slow writers down (default: 3/4 of max_background)",
		set: func(s *Settings, v string) error { return setCount(&s.Mount.CongestionThreshold, v) }},
	{Name: "max_inflight", Arg: "BYTES", Group: Requests, Help: "most memory for requests in flight (default: no bound)",
		set: func(s *Settings, v string) error { return setSize(&s.Mount.MaxInflightBytes, v) }},
}

func transports() []string {
	var names []string
	for _, t := range mount.Transports() {
		names = append(names, string(t))
	}
	return names
}
