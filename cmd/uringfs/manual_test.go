package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/uringfs/uringfs/cmd/uringfs/internal/option"
)

// section returns a section of the manual page, with escaped minus signs undone.
func section(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/man/uringfs.8")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), ".SH "+name+"\n")
	if !ok {
		t.Fatalf("the manual has no section %s", name)
	}
	body, _, _ := strings.Cut(rest, "\n.SH ")
	return strings.ReplaceAll(body, `\-`, "-")
}

func TestManualListsEveryMountOption(t *testing.T) {
	var documented, known []string
	for _, m := range regexp.MustCompile(`(?m)^\.B (\S+)$`).FindAllStringSubmatch(section(t, "MOUNT OPTIONS"), -1) {
		documented = append(documented, m[1])
	}
	for _, o := range option.All() {
		known = append(known, o.Form())
	}
	for _, form := range known {
		if !slices.Contains(documented, form) {
			t.Errorf("the manual lacks %s", form)
		}
	}
	for _, o := range option.All() {
		entry := fmt.Sprintf(".B %s\n%s%s.\n", o.Form(), strings.ToUpper(o.Help[:1]), o.Help[1:])
		if o.Group != option.Ignored && !strings.Contains(section(t, "MOUNT OPTIONS"), entry) {
			t.Errorf("the manual says something else than the help on %s", o.Form())
		}
	}
	// The preface shows the prefixes and units in bold as well.
	preface := []string{"x-", "X-"}
	for _, form := range documented {
		if !slices.Contains(known, form) && !slices.Contains(preface, form) {
			t.Errorf("the manual has %s, which does not exist", form)
		}
	}
}

func TestManualListsEveryFlag(t *testing.T) {
	options, commands := section(t, "OPTIONS"), section(t, "COMMANDS")
	root := newRootCommand(nil)
	root.Flags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(options, "--"+f.Name) {
			t.Errorf("OPTIONS lacks --%s", f.Name)
		}
	})
	for _, sub := range root.Commands() {
		if !strings.Contains(commands, "uringfs "+sub.Name()) && sub.Name() != "options" {
			t.Errorf("COMMANDS lacks %s", sub.Name())
		}
		sub.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !strings.Contains(commands, "--"+f.Name) {
				t.Errorf("COMMANDS lacks --%s of %s", f.Name, sub.Name())
			}
		})
	}
}

func TestManualListsEveryExitCode(t *testing.T) {
	source, err := os.ReadFile("exit.go")
	if err != nil {
		t.Fatal(err)
	}
	var codes, documented []string
	for _, m := range regexp.MustCompile(`(?m)^\texit\w+\s+= (\d+)`).FindAllStringSubmatch(string(source), -1) {
		codes = append(codes, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^\.B (\d+)$`).FindAllStringSubmatch(section(t, "EXIT STATUS"), -1) {
		documented = append(documented, m[1])
	}
	if len(codes) == 0 || !slices.Equal(codes, documented) {
		t.Errorf("exit codes %v, documented %v", codes, documented)
	}
}

func TestHelpShowsEveryFlag(t *testing.T) {
	root := newRootCommand(nil)
	root.Flags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(rootHelp, "--"+f.Name) {
			t.Errorf("--help lacks --%s", f.Name)
		}
	})
	for _, sub := range root.Commands() {
		if !strings.Contains(rootHelp, "uringfs "+sub.Name()) && sub.Name() != "options" {
			t.Errorf("--help lacks the command %s", sub.Name())
		}
	}
}
