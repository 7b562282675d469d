#!/usr/bin/env bash
# People walking: the demo's pipeline for DEMO_SECONDS (30) with the monitor's page beside it, some of its records, and
# its summary.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds="${DEMO_SECONDS:-30}"
[[ "$seconds" =~ ^[1-9][0-9]{0,5}$ ]] || die "DEMO_SECONDS is '$seconds'; it takes a whole number of seconds"
cd "$LOOKOUT_ROOT"
lookout="${CARGO_TARGET_DIR:-target}/release/lookout"
[[ -x "$lookout" ]] || die "$lookout is not built; run 'make build'"
LOOKOUT_CLIP="$(scripts/clip.sh)"
export LOOKOUT_CLIP

if [[ -z "${LOOKOUT_WEIGHTS:-}" ]]; then
    log "fetching torchvision's weights for ResNet-50"
    if "$lookout" weights pull resnet50 >&2; then
        export LOOKOUT_WEIGHTS=torchvision
    else
        log "the weights cannot be fetched from here; going on with random ones: the labels below mean nothing"
        export LOOKOUT_WEIGHTS=random:0
    fi
fi

folder="$(mktemp -d)"
worker='' reader='' monitor='' interrupted=''
finish() {
    [[ -z "$reader" ]] || kill "$reader" 2>/dev/null || true
    [[ -z "$monitor" ]] || kill "$monitor" 2>/dev/null || true
    [[ -z "$worker" ]] || kill "$worker" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

log "lookout run pipelines/demo.toml, for $seconds s"
# The worker's log goes to the terminal and, for the embedded broker's address, to a file.
"$lookout" run pipelines/demo.toml --summary text \
    >"$folder/summary" 2> >(tee "$folder/log" >&2) &
worker=$!
# Ctrl-C reaches the worker too: it drains, and the summary below is of what it did until then.
trap 'interrupted=yes' INT

running() { kill -0 "$worker" 2>/dev/null; }

address='' deadline=$((SECONDS + 60))
while [[ -z "$address" && -z "$interrupted" ]] && running && ((SECONDS < deadline)); do
    sleep 0.1 || true
    address="$(grep -i 'embedded broker' "$folder/log" | grep -oE '127\.0\.0\.1:[0-9]+' | head -n 1 || true)"
done
if [[ -n "$address" ]]; then
    # Its history goes with the embedded broker, which keeps nothing either.
    LOOKOUT_MONITOR_DATA="$folder/monitor" "$lookout" monitor pipelines/monitor.toml --brokers "$address" >&2 &
    monitor=$!
    log "some of the records (every 25th), as any Kafka client of $address sees them"
    "$lookout" tail --brokers "$address" --camera street > >(awk 'NR % 25 == 1 { print; fflush() }') &
    reader=$!
fi
deadline=$((SECONDS + seconds))
while running && ((SECONDS < deadline)) && [[ -z "$interrupted" ]]; do
    sleep 0.2 || true
done

# A second signal would stop the worker at once, and Ctrl-C was the first.
[[ -n "$interrupted" ]] || kill -INT "$worker" 2>/dev/null || true
while :; do
    status=0
    wait "$worker" || status=$?
    running || break
done
worker=''
if [[ -n "$reader" ]]; then
    kill "$reader" 2>/dev/null || true
    wait "$reader" 2>/dev/null || true
    reader=''
fi
if [[ -n "$monitor" ]]; then
    kill "$monitor" 2>/dev/null || true
    wait "$monitor" 2>/dev/null || true
    monitor=''
fi
log "summary"
cat "$folder/summary"
[[ "$LOOKOUT_WEIGHTS" != random:* ]] || log "the weights were random: the pipeline is real, its labels mean nothing"
[[ "$status" -eq 0 ]] || die "lookout run ended with exit code $status"
