#!/usr/bin/env python3
"""Compares Lookout's throughput on a GPU with torchvision's, from the JSON files in a folder.

    python3 scripts/gpu/throughput_report.py D

| file | written by |
|---|---|
| bench-*.json | `lookout-lab bench --json`; the median of several measurements with the same settings is used |
| eager.json | `peers.py --mode eager` |
| compile-BATCH.json | `peers.py --mode compile` |

Missing values are shown as `-`. If Lookout was measured with different numbers of streams, the fastest is compared.

Exit code: 0, or 1 if a ratio is below the required minimum.
"""

import argparse
import json
import pathlib
import statistics
import sys

# Required ratios by batch size.
MIN_AGAINST_COMPILE = {1: 1.0, 8: 1.0, 32: 1.0, 128: 1.0}
MIN_AGAINST_EAGER = {8: 1.5, 128: 1.2}
# For one image of 224x224; a multiply-add counts as two operations.
RESNET50_GFLOP = 8.18


def read(path):
    """Returns the JSON object in a file, or in its last line that is one; empty if there is none."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    for part in [text, *reversed(text.splitlines())]:
        try:
            value = json.loads(part)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    print(f"{path} contains no JSON object", file=sys.stderr)
    return {}


def by_batch(document):
    return {row["batch"]: row["images_per_s"] for row in document.get("results", [])}


def bench_results(folder):
    """Returns Lookout's measurements: the median per arch, precision, batch size and number of streams."""
    groups = {}
    for path in sorted(folder.glob("bench-*.json")):
        for row in read(path).get("results", []):
            groups.setdefault((row["arch"], row["precision"], row["batch"], row["streams"]), []).append(row)
    middle = []
    for rows in groups.values():
        rows.sort(key=lambda row: row["images_per_s"])
        per_s = statistics.median(row["images_per_s"] for row in rows)
        middle.append({**rows[len(rows) // 2], "images_per_s": per_s, "measured": len(rows)})
    return sorted(middle, key=lambda row: (row["arch"], row["precision"], row["batch"], row["streams"]))


def number(value, form=".0f"):
    return "-" if value is None else format(value, form)


def ratio(ours, theirs, minimum):
    """Returns the ratio with the minimum as text, and whether the minimum is reached."""
    value = ours / theirs if ours and theirs else None
    ok = value is None or minimum is None or value >= minimum
    beside = "" if minimum is None else f" (>= {minimum:.1f}{'' if ok else ', MISSED'})"
    # Three decimals, so that 0.996 is not shown as the required 1.00.
    return number(value, ".3f") + beside, ok


def table(header, rows):
    widths = [max(len(str(cell)) for cell in column) for column in zip(header, *rows)]
    for row in [header, *rows]:
        print("  ".join(str(cell).rjust(width) for cell, width in zip(row, widths)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--arch", default="resnet50")
    parser.add_argument("--precision", default="bf16")
    args = parser.parse_args()

    bench = bench_results(args.dir)
    eager_document = read(args.dir / "eager.json")
    eager = by_batch(eager_document)
    compiled, compile_seconds = {}, {}
    for path in args.dir.glob("compile-*.json"):
        document = read(path)
        compiled.update(by_batch(document))
        compile_seconds.update({batch: document.get("compile_s") for batch in by_batch(document)})
    matmul = eager_document.get("matmul_bf16_tflops")

    ours = {}
    for row in bench:
        if (row["arch"], row["precision"]) == (args.arch, args.precision):
            best = ours.get(row["batch"])
            ours[row["batch"]] = row if best is None or row["images_per_s"] > best["images_per_s"] else best

    rows, all_ok = [], True
    for batch in sorted({*ours, *eager, *compiled, *MIN_AGAINST_COMPILE}):
        row = ours.get(batch, {})
        per_s = row.get("images_per_s")
        to_compile, compile_ok = ratio(per_s, compiled.get(batch), MIN_AGAINST_COMPILE.get(batch))
        to_eager, eager_ok = ratio(per_s, eager.get(batch), MIN_AGAINST_EAGER.get(batch))
        all_ok = all_ok and compile_ok and eager_ok
        tflops = per_s * RESNET50_GFLOP / 1000 if per_s and args.arch == "resnet50" else None
        share = tflops / matmul if tflops and matmul else None
        rows.append(
            [
                batch,
                number(per_s),
                row.get("streams", "-"),
                number(eager.get(batch)),
                number(compiled.get(batch)),
                to_compile,
                to_eager,
                number(tflops, ".1f"),
                number(share, ".1%"),
                number(compile_seconds.get(batch)),
            ]
        )
    print(f"{args.arch} in {args.precision}, images/s, {eager_document.get('gpu') or 'GPU unknown'}")
    table(
        ["batch", "Lookout", "streams", "eager", "compile", "to compile", "to eager"]
        + ["TFLOP/s", "of matmul", "compile s"],
        rows,
    )
    copy = eager_document.get("h2d_pinned_gb_per_s")
    print(f"bf16 matmul: {number(matmul, '.1f')} TFLOP/s; copy to the GPU: {number(copy, '.2f')} GB/s")
    for path in sorted(args.dir.glob("*.error")):
        last = (path.read_text().strip().splitlines() or ["no reason"])[-1]
        print(f"{path.name}: {last}")

    if bench:
        print("\nall measurements of Lookout")
        latency = lambda row, which: number(row.get("latency_ms", {}).get(which), ".2f")
        table(
            ["arch", "precision", "batch", "streams", "images/s", "p50 ms", "p95 ms", "p99 ms"]
            + ["forward ms", "post ms", "runs"],
            [
                [row["arch"], row["precision"], row["batch"], row["streams"], number(row["images_per_s"], ".1f")]
                + [latency(row, which) for which in ("p50", "p95", "p99")]
                + [number(row.get("forward_ms"), ".2f"), number(row.get("post_ms"), ".2f"), row["measured"]]
                for row in bench
            ],
        )
    return 0 if all_ok else 1


if __name__ == "__main__":
    sys.exit(main())
