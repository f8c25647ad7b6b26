# Every target is a script of its own in scripts/; this file only names them.

PREFIX ?= /usr/local

.PHONY: build test lint demo bench soak install clean

build:
	scripts/build

test:
	scripts/test

lint:
	scripts/lint

demo:
	scripts/demo

bench:
	scripts/bench

soak:
	scripts/soak

install: build
	install -D -m 755 bin/uringfs $(DESTDIR)$(PREFIX)/bin/uringfs
	install -D -m 644 docs/man/uringfs.8 $(DESTDIR)$(PREFIX)/share/man/man8/uringfs.8
	install -D -m 644 docs/man/mount.uringfs.8 $(DESTDIR)$(PREFIX)/share/man/man8/mount.uringfs.8

clean:
	rm -rf bin build dist
