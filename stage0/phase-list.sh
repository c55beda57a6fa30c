# phase-list.sh -- the list of phases: edit it, run it.
#
# `phases' holds the names, separated by white space, in the order they run.
#
# shellcheck shell=sh disable=SC2154 # the environment defines what is not assigned here

# insert_phase before|after OTHER NAME: put NAME next to OTHER in the list.
insert_phase() {
    inserted=
    for phase in $phases; do
        if [ "$phase" != "$2" ]; then
            inserted="$inserted $phase"
        elif [ "$1" = before ]; then
            inserted="$inserted $3 $phase"
        else
            inserted="$inserted $phase $3"
        fi
    done
    # shellcheck disable=SC2086 # one space before each name
    if [ "$inserted" = "$(printf ' %s' $phases)" ]; then
        echo "gnu-build-system: no phase \`$2' to put \`$3' $1 it; there are: $phases" >&2
        exit 1
    fi
    phases=$inserted
}

# add_phase_before OTHER NAME, add_phase_after OTHER NAME
add_phase_before() { insert_phase before "$1" "$2"; }
add_phase_after() { insert_phase after "$1" "$2"; }

# delete_phase NAME...: a phase that is not in the list is a mistake in the recipe.
delete_phase() {
    for unwanted; do
        kept=
        for phase in $phases; do
            [ "$phase" = "$unwanted" ] || kept="$kept $phase"
        done
        # shellcheck disable=SC2086 # one space before each name
        if [ "$kept" = "$(printf ' %s' $phases)" ]; then
            echo "gnu-build-system: no phase \`$unwanted' to delete; there are: $phases" >&2
            exit 1
        fi
        phases=$kept
    done
}

# seconds: set `now' to the time in seconds; 0 as long as set-paths has not run and
# there is no `date' to ask.
seconds() {
    if command -v date >/dev/null 2>&1; then
        now=$(date +%s)
    else
        now=0
    fi
}

# phase_function NAME: set `function' to the name of the phase's function.
phase_function() {
    function=phase_
    remainder=$1
    while :; do
        case $remainder in
            *-*)
                function=$function${remainder%%-*}_
                remainder=${remainder#*-}
                ;;
            *)
                function=$function$remainder
                return
                ;;
        esac
    done
}

# report_failure: the EXIT trap.  A phase that fails ends the shell (set -e), so this
# is where the failure gets its name.
report_failure() {
    status=$?
    if [ "$status" -ne 0 ] && [ -n "$currentPhase" ]; then
        seconds
        [ "$started" -ne 0 ] || started=$now
        echo "phase \`$currentPhase' failed after $((now - started)) seconds" >&2
        echo "builder failed with exit status $status in phase \`$currentPhase' of $name" >&2
    fi
    exit "$status"
}

# run_phases: the two lines around each phase are Guix's; the progress display reads
# them.  A phase is called plainly, not in a condition, which would switch `set -e'
# off inside it.
run_phases() {
    currentPhase=
    trap report_failure EXIT
    for currentPhase in $phases; do
        phase_function "$currentPhase"
        seconds
        started=$now
        echo "starting phase \`$currentPhase'"
        "$function"
        seconds
        [ "$started" -ne 0 ] || started=$now
        echo "phase \`$currentPhase' succeeded after $((now - started)) seconds"
    done
    currentPhase=
}
