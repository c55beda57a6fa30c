# shellcheck shell=sh disable=SC2034,SC2154 # the builder defines what is not assigned here, and reads what is

# shellcheck source=SCRIPTDIR/../../stage0/guile-build-system/phases.sh
. "$input_guile_build_system/share/guile-build-system/phases.sh"
guileModules='git.scm git'
guileTests="tests/blob.scm tests/branch.scm tests/clone.scm tests/commit.scm tests/config.scm tests/describe.scm
    tests/diff.scm tests/ignore.scm tests/oid.scm tests/proxy.scm tests/reference.scm tests/repository.scm
    tests/reset.scm tests/remote.scm tests/rev-parse.scm tests/status.scm tests/settings.scm tests/submodule.scm
    tests/tag.scm tests/tree.scm"

phase_configure() {
    # Where the tests look for files. Without an SSH server, some of them are skipped.
    export srcdir=.
    fill_in tests/ssh.scm -e 's|@SSHD@|sshd|' -e "s|@abs_top_builddir@|$PWD|"
    # What libgit2 1.9 has.
    fill_in git/configuration.scm -e "s|@LIBGIT2_LIBDIR@|$input_libgit2/lib|" -e 's|@HAVE_[A-Z_]*@|#true|'
}

# The sizes of libgit2's structures, which the modules repeat.
phase_check_abi() {
    CC=gcc guile_here -e main build-aux/check-libgit2-abi.scm
}
add_phase_after check check-abi
