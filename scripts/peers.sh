#!/usr/bin/env bash
# The Python that `make bench` measures Lookout against, in the cache; prints the path of its interpreter.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

x86_64_only "the comparison"
python_env peers "PyTorch, OpenVINO and ONNX Runtime for the comparison" "3.5 GB"
