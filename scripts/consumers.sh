#!/usr/bin/env bash
# Installs the Python packages that the tests of examples/python need into the cache; prints the interpreter's path.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python_env consumers "confluent-kafka and Protobuf for the Python example" "10 MB" \
    "$LOOKOUT_ROOT/examples/python/requirements.txt"
