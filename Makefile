# SPDX-License-Identifier: GPL-3.0-or-later
# POSIX make: works with GNU make and BSD make alike.
#
#   make bootstrap   build the tool, then everything from the seed to the proof
#   make test        every check there is, on this machine
#   make audit       after `make bootstrap': the result, looked at with other programs, the tutorial and the example of
#                    sharing as written, and what 200 killed builds and 200 killed processes of daemons leave
#   make install     after `make tool': the tool, its manual pages, completions and service, under PREFIX (and DESTDIR
#                    before it)
#   make dist        the source archive target/dist/bootstrap-VERSION.tar.xz, the same to the bit from every clone
#   make fuzz        every fuzz target for SECONDS seconds each: make fuzz SECONDS=60
#   make freebsd     on Debian 12: the tool for FreeBSD, in target/x86_64-unknown-freebsd/release
#   make cross       on Debian 12, as root: that, and whether the plain C packages compile for FreeBSD
#
# ARGS is passed on, for example: make bootstrap ARGS='--root /tmp/try'

.POSIX:

CARGO = cargo
TOOL = target/release/bootstrap
ARGS =
PREFIX = /usr/local
SECONDS = 60

# DESTDIR is not set here, so that it may come from the environment. These are the places that Debian and FreeBSD look
# in.
BIN = $(DESTDIR)$(PREFIX)/bin
MAN = $(DESTDIR)$(PREFIX)/share/man/man1
BASH = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
ZSH = $(DESTDIR)$(PREFIX)/share/zsh/site-functions
FISH = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
SYSTEMD = $(DESTDIR)$(PREFIX)/lib/systemd/system
RC = $(DESTDIR)$(PREFIX)/etc/rc.d

all: tool

# Cargo knows what is out of date; make need not.
tool: prepare
	$(CARGO) build --release --locked

# Only where there is none: who installs, root as a rule, need not be who builds.
$(TOOL):
	$(CARGO) build --release --locked

# The program is put in place with a rename, so that one that runs is not written to.
install: $(TOOL)
	umask 022 && mkdir -p '$(BIN)' '$(MAN)' '$(BASH)' '$(ZSH)' '$(FISH)'
	cp '$(TOOL)' '$(BIN)/bootstrap.new'
	chmod 755 '$(BIN)/bootstrap.new'
	mv -f '$(BIN)/bootstrap.new' '$(BIN)/bootstrap'
	umask 022 && BOOTSTRAP_CONFIG= '$(TOOL)' man '$(MAN)'
	umask 022 && BOOTSTRAP_CONFIG= '$(TOOL)' completions bash > '$(BASH)/bootstrap'
	umask 022 && BOOTSTRAP_CONFIG= '$(TOOL)' completions zsh > '$(ZSH)/_bootstrap'
	umask 022 && BOOTSTRAP_CONFIG= '$(TOOL)' completions fish > '$(FISH)/bootstrap.fish'
	case $$(uname) in \
	Linux) umask 022 && mkdir -p '$(SYSTEMD)' && \
	    cp services/guix-daemon.socket '$(SYSTEMD)/' && \
	    sed 's|@BIN@|$(PREFIX)/bin|g' services/guix-daemon.service.in > '$(SYSTEMD)/guix-daemon.service' ;; \
	FreeBSD) umask 022 && mkdir -p '$(RC)' && \
	    sed 's|@BIN@|$(PREFIX)/bin|g' services/guix_daemon.in > '$(RC)/guix_daemon' && \
	    chmod 755 '$(RC)/guix_daemon' ;; \
	esac

bootstrap: tool
	$(TOOL) all $(ARGS)

test:
	CARGO='$(CARGO)' sh tools/prepare.sh test
	CARGO='$(CARGO)' sh tests/run.sh

# Installs what is missing, on Debian as root; elsewhere names it.
prepare:
	CARGO='$(CARGO)' sh tools/prepare.sh build

audit: tool
	sh tests/finished.sh $(TOOL)
	sh tests/tutorial.sh $(TOOL)
	sh tests/sharing.sh $(TOOL)
	BOOTSTRAP_GUIX_ROOT="$${BOOTSTRAP_GUIX_ROOT:-$$PWD/target/guix}" sh tests/guix/tutorial.sh $(TOOL)
	BOOTSTRAP_GUIX_ROOT="$${BOOTSTRAP_GUIX_ROOT:-$$PWD/target/guix}" sh tests/guix/two-stores.sh $(TOOL)
	BOOTSTRAP_GUIX_ROOT="$${BOOTSTRAP_GUIX_ROOT:-$$PWD/target/guix}" sh tests/guix/own-client.sh $(TOOL)
	BOOTSTRAP_GUIX_ROOT="$${BOOTSTRAP_GUIX_ROOT:-$$PWD/target/guix}" sh tests/guix/packages.sh --check $(TOOL)
	BOOTSTRAP_TEST_KILLS=200 $(CARGO) test --locked --test verify killed
	BOOTSTRAP_TEST_KILLS=200 $(CARGO) test --locked --test daemon after_any_kill

freebsd:
	sh cross/freebsd.sh build

cross: tool freebsd
	sh cross/packages.sh $(TOOL)

dist:
	sh tools/dist.sh

fuzz:
	CARGO='$(CARGO)' sh tools/fuzz.sh '$(SECONDS)'

bench: tool
	$(CARGO) bench --locked

clean:
	$(CARGO) clean

.PHONY: all tool prepare install bootstrap test audit dist fuzz freebsd cross bench clean
