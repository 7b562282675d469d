"""Evaluates tracks against ground truth with motmetrics, a third-party implementation of the standard metrics.

    judge.py SEQUENCE.json ...

Each file contains frames: [{"truth": [[id, x1, y1, x2, y2], ...], "tracks": [...]}, ...]. Prints a table of the
metrics, and in the last line {"idf1": ..., "mota": ..., ...} over all of them.
"""

import json
import pathlib
import sys

import motmetrics
import numpy

METRICS = ["idf1", "idp", "idr", "mota", "motp", "num_switches", "num_fragmentations", "mostly_tracked",
           "num_unique_objects"]


def rows(frame, kind):
    ids = [row[0] for row in frame[kind]]
    # motmetrics expects boxes as x, y, width, height.
    boxes = numpy.array([[x1, y1, x2 - x1, y2 - y1] for _, x1, y1, x2, y2 in frame[kind]]).reshape(-1, 4)
    return ids, boxes


def accumulated(path):
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for frame in json.loads(pathlib.Path(path).read_text()):
        (truth, truth_boxes), (tracks, track_boxes) = rows(frame, "truth"), rows(frame, "tracks")
        distances = motmetrics.distances.iou_matrix(truth_boxes, track_boxes, max_iou=0.5)
        accumulator.update(truth, tracks, distances)
    return accumulator


def main():
    names = [pathlib.Path(path).stem for path in sys.argv[1:]]
    host = motmetrics.metrics.create()
    summary = host.compute_many([accumulated(path) for path in sys.argv[1:]], names=names, metrics=METRICS,
                                generate_overall=True)
    print(motmetrics.io.render_summary(summary, formatters=host.formatters))
    print(json.dumps({name: float(summary.loc["OVERALL", name]) for name in METRICS}))


main()
