// Package option is the language of -o: every word that uringfs knows, what it
// does to the settings, and what is said about the ones it does not know.
//
// The table in words_*.go is the one place where an option is written down. The
// parser, the help, the completions and the test of the manual page read it.
package option
