# gnu-build-system.sh -- gnu-build-system's phases, before there is a Guile.
#
# The builder of every package, in stage0, libc, final and proof alike.  It runs as
#     SHELL -eu $phasesDirectory/gnu-build-system.sh
# in the build directory, with the environment that docs and recipes agree on
# (guix-daemon's variables, then name, stage, source, inputs, out, configureFlags ...).
# SHELL is the seed's /bin/sh (dash, FreeBSD's ash) or a bash from the store, so all
# of this is POSIX shell, and the tools it calls are POSIX's, not GNU's.
#
# A phase is a function `phase_NAME' (dashes become underscores).  The recipe's
# phases.sh is sourced last: it redefines functions, and edits the list with
# add_phase_before, add_phase_after and delete_phase (see phase-list.sh).
#
# shellcheck shell=sh disable=SC2154 # the environment defines what is not assigned here
set -eu

# The seed's tools must not behave differently under another locale or umask.
umask 022
LC_ALL=C
export LC_ALL

: "${phasesDirectory:?gnu-build-system.sh: the environment lacks phasesDirectory}"

# shellcheck source=stage0/phase-list.sh
. "$phasesDirectory/phase-list.sh"
# shellcheck source=stage0/environment.sh
. "$phasesDirectory/environment.sh"
# shellcheck source=stage0/source.sh
. "$phasesDirectory/source.sh"
# shellcheck source=stage0/shebangs.sh
. "$phasesDirectory/shebangs.sh"
# shellcheck source=stage0/build.sh
. "$phasesDirectory/build.sh"
# shellcheck source=stage0/outputs.sh
. "$phasesDirectory/outputs.sh"
# shellcheck source=stage0/validate.sh
. "$phasesDirectory/validate.sh"

# Guix's %standard-phases, in its order, except
#   separate-from-pid1, install-locale's search for a locale: the sandbox has no
#     locale but C;
#   bootstrap: no package here comes without a configure script, and neither the
#     seed nor the final inputs have autoconf;
#   patch-dot-desktop-files: no package here has one;
#   make-dynamic-linker-cache: libc's loader is the one the system shipped; it reads
#     no cache beside the program.
# Of our own are apply-patches (Guix patches the source in a derivation of its own),
# delete-libtool-archives and, in stage0 only, keep-programs.
phases="set-SOURCE-DATE-EPOCH set-paths install-locale unpack apply-patches
patch-usr-bin-file patch-source-shebangs configure patch-generated-file-shebangs
build check install keep-programs delete-libtool-archives
patch-shebangs strip validate-runpath validate-documentation-location
delete-info-dir-file install-license-files reset-gzip-timestamps
compress-documentation"

# stage0's outputs are tools for the next stages and nothing else; the final ones are
# what a user gets.
case $stage in
    stage0) delete_phase compress-documentation ;;
    *) delete_phase keep-programs ;;
esac

# `environment' of the recipe: shell text, expanded here so that it can speak of $out
# and of the inputs.
for variable in ${environmentNames:-}; do
    eval "eval \"$variable=\$env_$variable\""
    export "${variable?}"
done

if [ -n "${recipePhases:-}" ]; then
    # shellcheck source=/dev/null
    . "$recipePhases"
fi

run_phases
