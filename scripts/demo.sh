#!/usr/bin/env bash
# Runs the demo: simulated cameras, a worker, the monitor and `lookout adas`. Prints their output and the worker's
# summary. DEMO_SECONDS (60) is counted from the time at which all cameras publish records. Until then, the worker logs
# what it waits for. No network is needed.
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds="${DEMO_SECONDS:-60}"
[[ "$seconds" =~ ^[1-9][0-9]{0,5}$ ]] || die "DEMO_SECONDS is '$seconds'; it must be a whole number of seconds"
cd "$LOOKOUT_ROOT"
lookout="${CARGO_TARGET_DIR:-target}/release/lookout"
[[ -x "$lookout" ]] || die "$lookout is not built; run 'make build'"

folder="$(mktemp -d)"
declare -A running=()
interrupted=''
stop() {
    local pid="${running[$1]:-}"
    [[ -n "$pid" ]] || return 0
    unset "running[$1]"
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}
finish() {
    local name
    for name in tail adas monitor worker cameras; do stop "$name"; done
    rm -rf "$folder"
}
trap finish EXIT
trap 'interrupted=yes' INT

is_running() { kill -0 "${running[$1]}" 2>/dev/null; }

# until_said NAME FILE TEXT: waits until FILE contains a line with TEXT, and prints the line. There is no deadline,
# because the machine can be arbitrarily slow; fails if the process NAME ends before that.
until_said() {
    local line='' runs=yes
    while [[ -z "$interrupted" && -n "$runs" ]]; do
        # Checked before the file is read: the process may write the line and end in between.
        is_running "$1" || runs=''
        line="$(grep -m 1 -i -- "$3" "$2" 2>/dev/null || true)"
        [[ -z "$line" ]] || { echo "$line"; return 0; }
        [[ -z "$runs" ]] || sleep 0.2 || true
    done
    return 1
}

log "four simulated cameras at rtsp://127.0.0.1:8554/camera-1 to camera-4"
"$lookout" sim serve --cameras 4 --fps 4 --seed 900000 >"$folder/cameras" &
running[cameras]=$!
until_said cameras "$folder/cameras" camera-4 >/dev/null || die "the cameras did not start"

log "lookout run pipelines/demo.toml, for $seconds s after all cameras publish records"
# The worker's log goes to the terminal and, for the embedded broker's address, to a file.
"$lookout" run pipelines/demo.toml --summary text >"$folder/summary" 2> >(tee "$folder/log" >&2) &
running[worker]=$!
address="$(until_said worker "$folder/log" 'embedded broker at' | grep -oE '127\.0\.0\.1:[0-9]+' | head -n 1)" ||
    { [[ -n "$interrupted" ]] && exit 130; } || die "the worker ended before it had a broker; its log is above"

# The history is temporary, like the records of the embedded broker.
LOOKOUT_MONITOR_DATA="$folder/monitor" "$lookout" monitor pipelines/monitor.toml --brokers "$address" >&2 &
running[monitor]=$!
"$lookout" adas pipelines/demo-adas.toml --brokers "$address" >&2 &
running[adas]=$!
log "alerts, and every 40th record, as a Kafka client of $address receives them"
"$lookout" tail --brokers "$address" --camera drive --alerts > >(awk '/alert/ || NR % 40 == 1 { print; fflush() }') &
running[tail]=$!

until_said worker "$folder/log" 'all cameras publish records' >/dev/null || true
if is_running worker && [[ -z "$interrupted" ]]; then
    log "all four cameras publish records; the page is at http://127.0.0.1:9700 for $seconds s"
fi
deadline=$((SECONDS + seconds))
while is_running worker && ((SECONDS < deadline)) && [[ -z "$interrupted" ]]; do
    sleep 0.2 || true
done
# The worker is stopped last, because the embedded broker ends with it.
for name in tail adas monitor; do stop "$name"; done
# After Ctrl-C, the worker has already received a signal; a second one would make it stop without draining.
[[ -n "$interrupted" ]] || kill -INT "${running[worker]}" 2>/dev/null || true
while :; do
    status=0
    wait "${running[worker]}" || status=$?
    is_running worker || break
done
unset 'running[worker]'
log "summary"
cat "$folder/summary"
[[ "$status" -eq 0 ]] || die "lookout run ended with exit code $status"
