#!/bin/sh
# The browser that the report is tried in, from Debian's own packages. Needs root.
set -eu

export DEBIAN_FRONTEND=noninteractive
apt-get install -q -y --no-install-recommends chromium chromium-driver fonts-dejavu-core
