package option

var lifecycleWords = []*Option{
	{Name: "recover", Group: Lifecycle, Help: "first take a dead uringfs mount (\"transport endpoint is not connected\") off the mountpoint",
		set: func(s *Settings, _ string) error { s.Mount.Recover = true; return nil }},
	{Name: "auto_unmount", Group: Lifecycle, Help: "have fusermount3 unmount when the daemon dies, even by SIGKILL",
		set: func(s *Settings, _ string) error { s.Mount.AutoUnmount = true; return nil }},
	{Name: "drain_timeout", Arg: "SECONDS", Group: Lifecycle, Help: "how long SIGTERM waits for a busy mount before it unmounts lazily (default: 5)",
		set: func(s *Settings, v string) error { return setStage(&s.Stages.Drain, v) }},
	{Name: "lazy_timeout", Arg: "SECONDS", Group: Lifecycle, Help: "how long open files may be used after that before they are cut off (default: 10)",
		set: func(s *Settings, v string) error { return setStage(&s.Stages.Lazy, v) }},
	{Name: "confine", Values: []string{ConfineAuto, ConfineOn, ConfineOff}, Group: Lifecycle, Help: "give up capabilities and system calls once mounted: as far as possible, or fail, or not at all (default: auto)",
		set: func(s *Settings, v string) error { s.Confine = v; return nil }},
	{Name: "debug", Group: Lifecycle, Help: "log every request, like -d",
		set: func(s *Settings, _ string) error { s.Debug = true; return nil }},
}
