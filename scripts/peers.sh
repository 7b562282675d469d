#!/usr/bin/env bash
# Installs the Python packages that `make bench` compares Lookout with into the cache; prints the interpreter's path.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

x86_64_only "the comparison"
python_env peers "PyTorch, OpenVINO and ONNX Runtime for the comparison" "3.5 GB"
