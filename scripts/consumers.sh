#!/usr/bin/env bash
# The Python that examples/python is tested with, in the cache; prints the path of its interpreter.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python_env consumers "confluent-kafka and Protobuf for the example in Python" "10 MB" \
    "$LOOKOUT_ROOT/examples/python/requirements.txt"
