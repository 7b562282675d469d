#!/usr/bin/env bash
# Installs pycocotools, which generates the golden files of the COCO metrics, into the cache; prints the path of the
# Python interpreter. It is needed only to regenerate these files.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python_env pycocotools "pycocotools, which generates golden files" "20 MB"
