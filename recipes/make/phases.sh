# shellcheck shell=sh disable=SC2154 # the environment defines stage, shell, out ...

# Debian's archive lacks doc/: configure would stop without doc/Makefile.in, and `make install' without the
# manual page.
add_phase_before configure leave-out-manual
phase_leave_out_manual() {
    if [ ! -e doc/Makefile.in ]; then
        mkdir -p doc
        echo 'all install check clean mostlyclean distclean:' >doc/Makefile.in
        substitute Makefile.in 's|^man_MANS =.*|man_MANS =|'
    fi
}

# The name of the default shell is compiled in, for recipes and for $(shell ...): the
# sandboxes have no /bin/sh.  make's own bash, so that make works wherever it is.
if [ "$stage" != stage0 ]; then
    add_phase_before configure set-default-shell
    phase_set_default_shell() {
        substitute src/job.c "s|default_shell = \"/bin/sh\"|default_shell = \"$shell\"|"
    }
fi

# The seed's make is BSD's, whose Makefiles these are not: build.sh needs none.
if [ "$stage" = stage0 ]; then
    phase_build() {
        "$shell" ./build.sh
    }
    phase_install() {
        mkdir -p "$out/bin"
        cp make "$out/bin/make"
    }
fi
