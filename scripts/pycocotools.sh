#!/usr/bin/env bash
# The Python with pycocotools, which makes the goldens of the mean average precision, in the cache; prints the path
# of its interpreter. Only who makes the goldens anew needs it.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python_env pycocotools "pycocotools, which makes goldens" "20 MB"
