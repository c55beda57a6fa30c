# SPDX-License-Identifier: GPL-3.0-or-later
# run_phase.sh -- run phases of a build again, in its sandbox: run_phase PHASE...
#
# The builder's shell runs this; `bootstrap shell --of PKG' puts it there.  gnu-build-system.sh reads the recipe's
# phases last, so what is given to it in their place can shorten the list.
#
# shellcheck shell=sh disable=SC2154 # the environment of the build defines what is not assigned here
set -eu

if [ $# -eq 0 ]; then
    echo "usage: run_phase PHASE..., such as: run_phase check" >&2
    exit 2
fi
runPhases=$*
runRecipePhases=${recipePhases:-}
recipePhases=$runPhaseDirectory/phases.sh
export runPhases runRecipePhases recipePhases
exec "$runPhaseShell" -eu "$phasesDirectory/gnu-build-system.sh"
