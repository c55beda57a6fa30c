# POSIX make: works with GNU make and BSD make alike.
#
#   make bootstrap   build the tool, then everything from the seed to the proof
#   make test        every check there is, on this machine
#   make audit       after `make bootstrap': the result, looked at with other programs, the tutorial as written, and what
#                    200 killed builds leave
#   make freebsd     on Debian 12: the tool for FreeBSD, in target/x86_64-unknown-freebsd/release
#
# ARGS is passed on, for example: make bootstrap ARGS='--root /tmp/try'

.POSIX:

CARGO = cargo
TOOL = target/release/bootstrap
ARGS =

all: tool

# Cargo knows what is out of date; make need not.
tool:
	$(CARGO) build --release --locked

bootstrap: tool
	$(TOOL) all $(ARGS)

test:
	CARGO='$(CARGO)' sh tests/run.sh

audit: tool
	sh tests/finished.sh $(TOOL)
	sh tests/tutorial.sh $(TOOL)
	BOOTSTRAP_TEST_KILLS=200 $(CARGO) test --locked --test verify killed

freebsd:
	sh cross/freebsd.sh build

bench: tool
	$(CARGO) bench --locked

clean:
	$(CARGO) clean

.PHONY: all tool bootstrap test audit freebsd bench clean
