#!/usr/bin/env bash
# The Python with motmetrics, which judges the tracker, in the cache; prints the path of its interpreter.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python_env motmetrics "motmetrics, which judges the tracker" "70 MB"
