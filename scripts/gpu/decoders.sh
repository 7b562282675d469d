#!/usr/bin/env bash
# Compares frames that are decoded and scaled on the GPU with those of the CPU: a worker reads a clip with both
# decoders, and a network in fp32 classifies each frame.
#
#   source bundle/env.sh; scripts/gpu/decoders.sh [CLIP]
#
# Exit code: 0 if the worker succeeded and frames were compared, 1 otherwise. The differences are printed, not judged.
set -euo pipefail

clip="${1:-${LOOKOUT_BUNDLE:?source env.sh of the bundle}/clips/road-1080p30.h264}"
folder="$(mktemp -d)"
tail=''
finish() {
    [[ -z "$tail" ]] || kill "$tail" 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT

cat >"$folder/pipeline.toml" <<TOML
name = "decoders"

[model]
arch = "resnet50"
weights = "random:0"
device = "${LOOKOUT_DEVICE:-cuda:0}"
precision = "fp32"

[kafka]
brokers = "embedded"

[[camera]]
id = "cpu"
uri = "$clip"
decoder = "cpu"

[[camera]]
id = "gpu"
uri = "$clip"
decoder = "gpu"
TOML
# The embedded broker ends with the worker, so `lookout tail` must be connected before the worker has read the clip.
mkfifo "$folder/log"
lookout run "$folder/pipeline.toml" --summary text >"$folder/summary" 2>"$folder/log" &
worker=$!
while read -r line; do
    echo "$line" >>"$folder/worker.log"
    if [[ -z "$tail" && "$line" == *'embedded broker at'* ]]; then
        lookout tail --brokers "$(grep -oE '127\.0\.0\.1:[0-9]+' <<<"$line" | head -n 1)" --json \
            >"$folder/records.jsonl" 2>/dev/null &
        tail=$!
    fi
done <"$folder/log"
code=0
wait "$worker" || code=$?
((code == 0)) || { tail -n 20 "$folder/worker.log" >&2; echo "error: the worker ended with exit code $code" >&2; }
grep -oE 'decoder selected.*' "$folder/worker.log" || true
env -u LD_LIBRARY_PATH python3 - "$folder/records.jsonl" <<'PYTHON'
import json, sys

frames = {"cpu": {}, "gpu": {}}
with open(sys.argv[1]) as lines:
    for line in lines:
        record = json.loads(line)
        if record.get("schema", "").startswith("lookout.frame/"):
            frames[record["camera"]][record["seq"]] = {c["class_id"]: c["score"] for c in record["classes"]}
both = frames["cpu"].keys() & frames["gpu"].keys()
if not both:
    sys.exit("error: no frame has records from both decoders")
differences, same = [], 0
for seq in both:
    cpu, gpu = frames["cpu"][seq], frames["gpu"][seq]
    same += next(iter(cpu)) == next(iter(gpu))
    differences += [abs(cpu[c] - gpu[c]) / cpu[c] for c in cpu.keys() & gpu.keys()]
print(f"frames of both decoders: {len(both)}; the first class is the same in {same}")
print(f"scores differ by {sum(differences) / len(differences):.4f} in the mean and {max(differences):.4f} at most, of the score")
PYTHON
exit "$code"
