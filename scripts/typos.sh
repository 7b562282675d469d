#!/usr/bin/env bash
# typos, which checks spelling, in the cache; prints the program's path.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python="$(python_env lint "typos, which checks spelling" "6 MB")"
echo "$(dirname "$python")/typos"
