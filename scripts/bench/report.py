"""From measurements to the table of what must hold, and to docs/performance.md."""

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


def _median(results, key):
    return statistics.median(result[key] for result in results)


def must_hold(measured):
    """A row a promise, of those that were measured."""
    precision = measured["precision"]
    model, pipelines = measured["model"], measured.get("pipeline", {})
    alone = _median(model["lookout"], "images_per_s")
    rows = []

    def at_least(what, ours, name, theirs, floor):
        ratio = ours / theirs
        rows.append(Row(what, f"{ours:.1f}/s", f"{name}: {theirs:.1f}/s", ratio, f"at least {floor}", ratio >= floor))

    def under(what, figure, unit, ceiling):
        rows.append(Row(what, f"{figure:.1f} {unit}", "", figure, f"under {ceiling} {unit}", figure < ceiling))

    if theirs := model.get(f"openvino-{precision}"):
        at_least("ResNet-50 alone", alone, f"OpenVINO {precision}", _median(theirs, "images_per_s"), 0.85)
    detector = measured["detector"]
    detects = _median(detector["lookout"], "images_per_s")
    if theirs := detector.get(f"openvino-{precision}"):
        what = "RetinaNet alone, NMS included"
        at_least(what, detects, f"OpenVINO {precision}, heads only", _median(theirs, "images_per_s"), 0.9)
    post = 100 * _median(detector["lookout"], "post_ms") / _median(detector["lookout"], "forward_ms")
    under("RetinaNet, reading over the network", post, "%", 5)
    for cameras, sides_of in pipelines.items():
        what = f"pipeline, {cameras} camera{'s' if cameras > 1 else ''}"
        ours = _median(sides_of["lookout"], "fps")
        at_least(what, ours, "its model alone", alone, 0.9)
        at_least(what, ours, f"Python pipeline, torch {precision}", _median(sides_of[f"torch-{precision}"], "fps"), 1.1)
    if others := measured.get("others"):
        at_least("pipeline, RetinaNet", _median(others["detector"], "fps"), "its model alone", detects, 0.95)
    if 8 in pipelines:
        under("memory with 8 cameras", max(r["rss_mib"] for r in pipelines[8]["lookout"]), "MiB", 700)
    under("lookout --help", measured["help_ms"], "ms", 50)
    return rows


def table(rows):
    lines = ["| what | Lookout | against | ratio | must be | holds |", "|---|---|---|---|---|---|"]
    for row in rows:
        ratio = f"{row.figure:.2f}" if row.against else ""
        lines.append(f"| {row.what} | {row.ours} | {row.against} | {ratio} | {row.wanted} | {'yes' if row.holds else 'NO'} |")
    return "\n".join(lines)


def _machine(about):
    return (f"{about['cpu']}, {about['cores']} cores ({', '.join(about['instructions'])}), {about['memory_gib']} GiB; "
            f"{about['os']}, Linux {about['kernel']}; {about['busy_before']:.0%} busy with other things before the run; {about['date']}.")


def _others(measured):
    """Rows of what was measured besides."""
    lines = ["| measured | median | rounds |", "|---|---|---|"]

    def row(what, results, key, unit):
        each = ", ".join(f"{result[key]:.1f}" for result in results)
        lines.append(f"| {what} | {_median(results, key):.1f} {unit} | {each} |")

    for network in ("model", "detector"):
        for side, results in measured[network].items():
            arch = measured[network]["lookout"][0]["arch"]
            row(f"{arch} alone, {side}", results, "images_per_s", "images/s")
    for cameras, sides_of in measured["pipeline"].items():
        for side, results in sides_of.items():
            what = f"pipeline, {cameras} camera(s), {side}"
            row(what, results, "fps", "frames/s")
            row(f"{what}: memory", results, "rss_mib", "MiB")
    for what, results in measured["others"].items():
        row(f"pipeline, {what}", results, "fps", "frames/s")
    return "\n".join(lines)


def write(rows, measured):
    """Puts the figures between the marks of docs/performance.md."""
    before, begin, rest = FILE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"error: {FILE} has lost its marks {BEGIN} and {END}")
    figures = (f"\n\n{_machine(measured['machine'])} ResNet-50 at 224x224 in batches of {sides.CLASSIFIER.batch}, "
               f"RetinaNet at {sides.DETECTOR.input} in batches of {sides.DETECTOR.batch}, {measured['precision']}; "
               f"median of {measured['rounds']} rounds.\n\n{table(rows)}\n\n{_others(measured)}\n\n")
    FILE.write_text(before + begin + figures + end + after)
