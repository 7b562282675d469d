#!/usr/bin/env bash
# Installs typos, the spell checker, into the cache; prints the program's path.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python="$(python_env lint "typos, the spell checker" "6 MB")"
echo "$(dirname "$python")/typos"
