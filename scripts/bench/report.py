"""Turns measurements into the table of requirements and into the section of docs/performance.md."""

import dataclasses
import statistics
import sys

import sides

FILE = sides.ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


@dataclasses.dataclass
class Row:
    what: str
    ours: str
    against: str
    figure: float
    wanted: str
    holds: bool


def _rate(result):
    return result.get("images_per_s") or result["fps"]


def _median(results, key=None):
    return statistics.median(result[key] if key else _rate(result) for result in results)


def must_hold(measured):
    """Returns one row per requirement that was measured."""
    precision = measured["precision"]
    pipelines = measured.get("pipeline", {})
    rows = []

    def at_least(what, ours, name, theirs, floor):
        # Per round, because the speed of the machine is about the same within a round.
        ratio = statistics.median(_rate(a) / _rate(b) for a, b in zip(ours, theirs, strict=True))
        ours, theirs = f"{_median(ours):.1f}/s", f"{name}: {_median(theirs):.1f}/s"
        rows.append(Row(what, ours, theirs, ratio, f"at least {floor}", ratio >= floor))

    def under(what, figure, unit, ceiling):
        rows.append(Row(what, f"{figure:.1f} {unit}", "", figure, f"under {ceiling} {unit}", figure < ceiling))

    if model := measured.get("model"):
        engine = f"openvino-{precision}"
        at_least("ResNet-50 alone", model["lookout"], f"OpenVINO {precision}", model[engine], 0.85)
        detector = measured["detector"]
        what = "RetinaNet alone, NMS included"
        at_least(what, detector["lookout"], f"OpenVINO {precision}, heads only", detector[engine], 0.9)
        post = 100 * _median(detector["lookout"], "post_ms") / _median(detector["lookout"], "forward_ms")
        under("RetinaNet, postprocessing time / forward time", post, "%", 5)
    for cameras, sides_of in pipelines.items():
        what = f"pipeline, {cameras} camera{'s' if cameras > 1 else ''}"
        at_least(what, sides_of["lookout"], "model alone", sides_of["model alone"], 0.9)
        theirs = sides_of[f"torch-{precision}"]
        at_least(what, sides_of["lookout"], f"Python pipeline, torch {precision}", theirs, 1.1)
    if others := measured.get("others"):
        theirs = others["RetinaNet, model alone"]
        at_least("pipeline, RetinaNet", others["RetinaNet"], "model alone", theirs, 0.95)
    if 8 in pipelines:
        under("peak memory, 8 cameras", max(r["rss_mib"] for r in pipelines[8]["lookout"]), "MiB", 700)
    under("lookout --help", measured["help_ms"], "ms", 50)
    return rows


def table(rows):
    lines = ["| Measurement | Lookout | Compared with | Ratio | Requirement | Met |", "|---|---|---|---|---|---|"]
    for row in rows:
        ratio = f"{row.figure:.2f}" if row.against else ""
        lines.append(f"| {row.what} | {row.ours} | {row.against} | {ratio} | {row.wanted} | {'yes' if row.holds else 'NO'} |")
    return "\n".join(lines)


def _machine(about):
    return (f"{about['cpu']}, {about['cores']} cores ({', '.join(about['instructions'])}), {about['memory_gib']} GiB; "
            f"{about['os']}, Linux {about['kernel']}; {about['busy_before']:.0%} CPU use by other programs before the run; "
            f"{about['date']}.")


def _others(measured):
    """Returns the table of all measurements."""
    lines = ["| Measurement | Median | Per round |", "|---|---|---|"]

    def row(what, results):
        each = ", ".join(f"{_rate(result):.1f}" for result in results)
        lines.append(f"| {what} | {_median(results):.1f} frames/s | {each} |")
        if memory := [f"{result['rss_mib']:.0f}" for result in results if "rss_mib" in result]:
            lines.append(f"| {what}: peak memory | {_median(results, 'rss_mib'):.0f} MiB | {', '.join(memory)} |")

    for network in ("model", "detector"):
        for side, results in measured[network].items():
            arch = measured[network]["lookout"][0]["arch"]
            row(f"{arch} alone, {side}", results)
    for cameras, sides_of in measured["pipeline"].items():
        for side, results in sides_of.items():
            row(f"pipeline, {cameras} camera(s), {side}", results)
    for what, results in measured["others"].items():
        row(f"pipeline, {what}", results)
    return "\n".join(lines)


def write(rows, measured):
    """Replaces the section between the marks of docs/performance.md."""
    before, begin, rest = FILE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"error: {FILE} does not contain the marks {BEGIN} and {END}")
    figures = (f"\n\n{_machine(measured['machine'])} ResNet-50 at 224x224 in batches of {sides.CLASSIFIER.batch}, "
               f"RetinaNet at {sides.DETECTOR.input} in batches of {sides.DETECTOR.batch}, {measured['precision']}; "
               f"median of {measured['rounds']} rounds.\n\n{table(rows)}\n\n{_others(measured)}\n\n")
    FILE.write_text(before + begin + figures + end + after)
