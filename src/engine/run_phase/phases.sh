# SPDX-License-Identifier: GPL-3.0-or-later
# phases.sh -- the recipe's phases, and a list that holds only those that run_phase was asked for.
#
# shellcheck shell=sh disable=SC2154 # run_phase.sh and gnu-build-system.sh define what is not assigned here

if [ -n "$runRecipePhases" ]; then
    # shellcheck source=/dev/null
    . "$runRecipePhases"
fi
known=
for phase in $phases; do
    known="$known $phase"
done
for phase in $runPhases; do
    case "$known " in
        *" $phase "*) ;;
        *)
            echo "run_phase: no phase \`$phase'; there are:$known" >&2
            exit 2
            ;;
    esac
done

# Where the phase `unpack' or `configure' left off.  A build directory that stands beside the source is called `build'.
phase_enter_directory() {
    if [ -z "$(ls -A)" ]; then
        echo "run_phase: the build directory $PWD is empty: run the phase \`unpack' first," >&2
        echo 'or give a directory that was kept: bootstrap shell --of PKG --directory DIR' >&2
        exit 2
    fi
    if [ "${outOfSource:-0}" = 1 ] && [ -d build ]; then
        cd build || exit
    else
        enter_first_directory
    fi
    echo "in $PWD"
}

# The environment is that of the phases that only set variables.
phases=
for phase in set-SOURCE-DATE-EPOCH set-paths install-locale; do
    case "$known " in
        *" $phase "*) phases="$phases $phase" ;;
    esac
done
case " $runPhases " in
    " unpack "*) ;;
    *) phases="$phases enter-directory" ;;
esac
phases="$phases $runPhases"
