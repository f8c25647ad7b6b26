package option

var cachingWords = []*Option{
	{Name: "attr_timeout", Arg: "SECONDS", Group: Caching, Help: "how long the kernel may keep attributes (default: 1)",
		set: func(s *Settings, v string) error { return setTimeout(&s.AttrTimeout, v) }},
	{Name: "entry_timeout", Arg: "SECONDS", Group: Caching, Help: "how long the kernel may keep names (default: 1)",
		set: func(s *Settings, v string) error { return setTimeout(&s.EntryTimeout, v) }},
	{Name: "negative_timeout", Arg: "SECONDS", Group: Caching, Help: "how long the kernel may keep that a name does not exist (default: 0)",
		set: func(s *Settings, v string) error { return setTimeout(&s.NegativeTimeout, v) }},
}
