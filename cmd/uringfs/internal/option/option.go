package option

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An Option is one word of -o.
type Option struct {
	// Name stands before the "=", if there is one.
	Name string
	// Arg names the value in the help ("SECONDS"); empty for a word alone.
	Arg string
	// Values are the only values accepted, if not nil.
	Values []string
	// Loose words may carry a value all the same, which does not matter.
	Loose bool
	// Help is one clause, lower case, without a full stop.
	Help string
	// Group is the heading under which the manual shows it.
	Group Group

	set func(s *Settings, value string) error
}

// Form is how the option is written: "ro", "max_write=BYTES", "transport=auto|uring|dev".
func (o *Option) Form() string {
	switch {
	case o.Values != nil:
		return o.Name + "=" + strings.Join(o.Values, "|")
	case o.Arg != "":
		return o.Name + "=" + o.Arg
	}
	return o.Name
}

func (o *Option) takesValue() bool { return o.Arg != "" || o.Values != nil }

// A Group is a heading of the manual page.
type Group string

// The groups, in the order of the manual page.
const (
	Access    Group = "Access"
	Behaviour Group = "Mount flags"
	Caching   Group = "Caching"
	Requests  Group = "Requests"
	Backing   Group = "Backing directory"
	Lifecycle Group = "Life cycle"
	Ignored   Group = "Accepted and ignored"
)

// Groups lists the groups in the order of the manual page.
func Groups() []Group {
	return []Group{Access, Behaviour, Caching, Requests, Backing, Lifecycle, Ignored}
}

// All returns every option, by group and name.
func All() []*Option {
	var all []*Option
	for _, list := range [][]*Option{accessWords, flagWords, cachingWords, requestWords, backingWords, lifecycleWords, ignoredWords} {
		all = append(all, list...)
	}
	return all
}

// An Error is a -o word that cannot be used.
type Error struct {
	msg, hint string
	unknown   bool // there is no such word
}

func (e *Error) Error() string { return e.msg }

// Hint says what to write instead, or is empty.
func (e *Error) Hint() string { return e.hint }

// IsError says whether err is a fault in the -o words.
func IsError(err error) bool {
	var e *Error
	return errors.As(err, &e)
}

// Apply reads comma-separated words, as given to one -o, into s. A comma inside
// a value is written "\,". Later words win over earlier ones. With sloppy,
// unknown words are passed over, as mount -s asks for.
func (s *Settings) Apply(words string, sloppy bool) error {
	list := split(words)
	s.Remount = s.Remount || slices.Contains(list, "remount")
	for _, word := range list {
		err := s.apply(word)
		var e *Error
		if sloppy && errors.As(err, &e) && e.unknown {
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Settings) apply(word string) error {
	name, value, hasValue := strings.Cut(word, "=")
	// Comments for other programs, systemd's above all: mount(8).
	if word == "" || strings.HasPrefix(name, "x-") || strings.HasPrefix(name, "X-") {
		return nil
	}
	if s.Remount && shown[name] {
		return nil
	}
	if reason, ok := refused[name]; ok {
		return &Error{msg: fmt.Sprintf("option %q: %s", name, reason.why), hint: cmp.Or(reason.instead, "leave it out")}
	}
	o := find(name)
	switch {
	case name == "":
		return &Error{msg: fmt.Sprintf("option %q has no name", word), hint: "\"uringfs help options\" lists them all"}
	case o == nil:
		e := &Error{unknown: true, msg: fmt.Sprintf("unknown option %q", name), hint: "\"uringfs help options\" lists them all"}
		if near := nearest(name); near != nil {
			e.hint = fmt.Sprintf("did you mean %q?", near.Form())
		}
		return e
	case o.takesValue() && (!hasValue || value == ""):
		return &Error{msg: fmt.Sprintf("option %q needs a value", name), hint: "write " + o.Form()}
	case !o.takesValue() && hasValue && !o.Loose:
		return &Error{msg: fmt.Sprintf("option %q takes no value", name), hint: "write " + name}
	case o.Values != nil && !slices.Contains(o.Values, value):
		return &Error{msg: fmt.Sprintf("%s=%s: no such value", name, value), hint: "write " + o.Form()}
	}
	if err := o.set(s, value); err != nil {
		return &Error{msg: fmt.Sprintf("%s=%s: %v", name, value, err), hint: "write " + o.Form()}
	}
	return nil
}

func find(name string) *Option {
	for _, o := range All() {
		if o.Name == name {
			return o
		}
	}
	return nil
}

// split cuts at commas that no backslash stands before.
func split(words string) []string {
	var list []string
	var b strings.Builder
	for i := 0; i < len(words); i++ {
		switch c := words[i]; {
		case c == '\\' && i+1 < len(words) && (words[i+1] == ',' || words[i+1] == '\\'):
			i++
			b.WriteByte(words[i])
		case c == ',':
			list = append(list, b.String())
			b.Reset()
		default:
			b.WriteByte(c)
		}
	}
	return append(list, b.String())
}
