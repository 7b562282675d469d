#!/usr/bin/env bash
# Prints the detections of all cameras, one line per frame, with kcat and jq. Only for records in JSON: Protobuf records
# need a program that decodes schemas/lookout.proto.
#
#   consume.sh BROKERS [TOPIC_PREFIX [GROUP [KCAT_OPTION...]]]
set -euo pipefail

brokers="${1:?usage: consume.sh BROKERS [TOPIC_PREFIX [GROUP [KCAT_OPTION...]]]}"
prefix="${2:-lookout}"
group="${3:-lookout-example-kcat}"

# kcat commits the offsets of the records that it has printed, and resumes there in the next run.
kcat -q -b "$brokers" -G "$group" -X auto.offset.reset=earliest -f '%s\n' "${@:4}" "$prefix.frames.v1" |
    jq -nRr --unbuffered '
        # A record with a lower epoch is from a worker that no longer owned the camera.
        foreach (inputs | fromjson? | objects | select(.schema == "lookout.frame/1")) as $frame (
            {epochs: {}};
            .late = ($frame.epoch < (.epochs[$frame.camera] // 0))
            | if .late then . else .epochs[$frame.camera] = $frame.epoch end;
            select(.late | not) | $frame
        )
        | [.detections[] | "\(.label) \(.score * 100 | round / 100) [\(.box | map(round) | join(" "))]"] as $seen
        | "\(.captured_at) \(.camera) \(.age_ms) ms: \($seen | join(", "))"'
