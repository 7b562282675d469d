#!/usr/bin/env bash
# Installs motmetrics, which evaluates the tracker, into the cache; prints the path of the Python interpreter.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python_env motmetrics "motmetrics, which evaluates the tracker" "70 MB"
