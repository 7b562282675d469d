#!/usr/bin/env bash
# Prints what Lookout's cameras see, a line a frame, with kcat and jq. Of records in JSON only: the others need a
# program that knows schemas/lookout.proto.
#
#   consume.sh BROKERS [TOPIC_PREFIX [GROUP [KCAT_OPTION...]]]
set -euo pipefail

brokers="${1:?usage: consume.sh BROKERS [TOPIC_PREFIX [GROUP [KCAT_OPTION...]]]}"
prefix="${2:-lookout}"
group="${3:-lookout-example-kcat}"

# kcat commits what it has written, and goes on there the next time.
kcat -q -b "$brokers" -G "$group" -X auto.offset.reset=earliest -f '%s\n' "${@:4}" "$prefix.frames.v1" |
    jq -nRr --unbuffered '
        # A lower epoch than one that was seen is of a worker that had lost the camera.
        foreach (inputs | fromjson? | objects | select(.schema == "lookout.frame/1")) as $frame (
            {epochs: {}};
            .late = ($frame.epoch < (.epochs[$frame.camera] // 0))
            | if .late then . else .epochs[$frame.camera] = $frame.epoch end;
            select(.late | not) | $frame
        )
        | [.detections[] | "\(.label) \(.score * 100 | round / 100) [\(.box | map(round) | join(" "))]"] as $seen
        | "\(.captured_at) \(.camera) \(.age_ms) ms: \($seen | join(", "))"'
