"""Lookout beside the Python one would write instead, both measured in this run, alternating.

Prints the table of what must hold, and writes it with the machine's description into
docs/performance.md; every single measurement goes to target/bench.json.
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
    """Runs {side: call} in turn, `count` times; gives {side: [result of each round]}."""
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
    # A machine's speed drifts by several per cent in minutes, so a pipeline's model is measured beside it.
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
            # Long enough for its first and last batch, which have a stream to themselves, not to count.
            "RetinaNet": partial(lookout, sides.DETECTOR, sides.clip(), 1),
            "RetinaNet, model alone": partial(alone, sides.DETECTOR),
        }
        return results, rounds_of(args.rounds, "pipeline", others)


def main():
    parser = argparse.ArgumentParser(prog="make bench BENCH_ARGS=", description=__doc__)
    parser.add_argument("--only", choices=["model", "pipeline"], help="leave the other half out")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, of which the median counts (3)")
    parser.add_argument("--seconds", type=float, default=8, help="length of a measurement of a model alone (8)")
    parser.add_argument("--check", action="store_true", help="fail where something does not hold")
    args = parser.parse_args()

    about = machine.describe()
    if about["busy_before"] > 0.1:
        print(f"warning: other programs use {about['busy_before']:.0%} of this machine: the figures will be wrong",
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
        sys.exit("not everything holds")


main()
