"""Compares Lookout with Python implementations, which are measured alternately in the same run.

Prints the table of performance requirements, and writes it with a description of the machine into
docs/performance.md. All measurements are written to target/bench.json.
"""

import argparse
import json
import statistics
import sys
from functools import partial

import machine
import report
import sides
from kafka import Kafka


def rounds_of(count, name, measurements):
    """Runs the calls of {side: call} alternately in `count` rounds; returns {side: [result of each round]}."""
    results = {side: [] for side in measurements}
    for i in range(count):
        for side, measure in measurements.items():
            print(f"round {i + 1} of {count}, {name}: {side} ...", file=sys.stderr, end=" ", flush=True)
            result = measure()
            print(result.get("images_per_s") or result.get("fps"), "/s", file=sys.stderr)
            results[side].append(result)
    return results


def model_alone(args, precision):
    engines = [f"openvino-{precision}", f"torch-{precision}"] + ([] if precision == "fp32" else ["openvino-fp32"])
    return models(args, sides.CLASSIFIER, precision, engines)


def models(args, network, precision, engines):
    measurements = {"lookout": partial(sides.lookout_model, network, precision, args.seconds)}
    for engine in engines:
        measurements[engine] = partial(sides.peer_model, network, engine, args.seconds)
    return rounds_of(args.rounds, f"{network.arch} alone", measurements)


def pipelines(args, precision):
    results = {}
    clips = {1: sides.clip(), 8: sides.short_clip("mkv")}
    # The speed of a machine drifts by several percent within minutes, so the model is measured in the same rounds.
    alone = partial(sides.lookout_model, precision=precision, seconds=args.seconds)
    with Kafka() as brokers:
        lookout = partial(sides.lookout_pipeline, precision=precision, brokers=brokers)
        for cameras, clip in clips.items():
            measurements = {
                "lookout": partial(lookout, sides.CLASSIFIER, clip, cameras),
                "model alone": partial(alone, sides.CLASSIFIER),
                f"torch-{precision}": partial(sides.peer_pipeline, clip, cameras, f"torch-{precision}", brokers),
            }
            results[cameras] = rounds_of(args.rounds, f"pipeline, {cameras} camera(s)", measurements)
        others = {
            "8 cameras, H.264": partial(lookout, sides.CLASSIFIER, sides.short_clip("mp4"), 8),
            # The whole clip, so that the first and last batch, which run alone, have no influence.
            "RetinaNet": partial(lookout, sides.DETECTOR, sides.clip(), 1),
            "RetinaNet, model alone": partial(alone, sides.DETECTOR),
        }
        return results, rounds_of(args.rounds, "pipeline", others)


def main():
    parser = argparse.ArgumentParser(prog="make bench BENCH_ARGS=", description=__doc__)
    parser.add_argument("--only", choices=["model", "pipeline"], help="measure only the model, or only the pipeline")
    parser.add_argument("--rounds", type=int, default=3, help="number of rounds, of which the median is reported (3)")
    parser.add_argument("--seconds", type=float, default=8, help="duration of each measurement of a model alone (8)")
    parser.add_argument("--check", action="store_true", help="fail if a requirement is not met")
    args = parser.parse_args()

    about = machine.describe()
    if about["busy_before"] > 0.1:
        print(f"warning: other programs use {about['busy_before']:.0%} of this machine, which distorts the results",
              file=sys.stderr)
    precision = machine.best_precision()
    measured = {"machine": about, "precision": precision, "rounds": args.rounds}
    if args.only != "pipeline":
        measured["model"] = model_alone(args, precision)
        measured["detector"] = models(args, sides.DETECTOR, precision, [f"openvino-{precision}"])
    if args.only != "model":
        measured["pipeline"], measured["others"] = pipelines(args, precision)
    measured["help_ms"] = statistics.median(sides.help_ms() for _ in range(20))

    rows = report.must_hold(measured)
    print(report.table(rows))
    (sides.target() / "bench.json").write_text(json.dumps(measured, indent=1) + "\n")
    if args.only is None:
        report.write(rows, measured)
    if args.check and not all(row.holds for row in rows):
        sys.exit("error: a requirement is not met")


main()
