# SPDX-License-Identifier: GPL-3.0-or-later
# The arguments of scripts that are used as: SCRIPT [--root DIR] PROGRAM [ARGUMENT...]. Sourced: sets `store_root' and
# `program', and leaves the other arguments.
#
# shellcheck shell=sh disable=SC2034 # the script that sources it uses what is assigned here

store_root=/
if [ "${1:-}" = --root ]; then
    store_root=${2:?--root DIR}
    shift 2
fi
program=$(realpath "${1:?usage: $(basename "$0") [--root DIR] PROGRAM [ARGUMENT...]}")
shift
