#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# A picture of a report, such as the README's.
#
#   tests/report/screenshot.sh REPORT.html PICTURE.png
set -eu

report=$(realpath "$1")
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
chromium --headless=new --no-sandbox --disable-gpu --hide-scrollbars --user-data-dir="$profile" \
    --force-device-scale-factor=1 --window-size=1280,1700 --screenshot="$2" "file://$report" 2>/dev/null
