"""Runs trackers of others on sequences in MOTChallenge layout and evaluates them with motmetrics.

    python3 -m venv VENV && VENV/bin/pip install trackers==2.6.0 motmetrics==1.4.0
    VENV/bin/python scripts/peers/track.py FOLDER [--every N] [--write OUT] [--results DIR]

Prints one line of JSON per tracker, over all sequences. `sort` and `sort-30` are SORT as published (Bewley et al.
2016), with max_age 1 and 30, min_hits 3 and IoU 0.3; the others are the PyPI package `trackers` with its defaults.
`--every N` takes each Nth frame. `--write OUT` writes result files. `--results DIR` evaluates the result files in DIR,
such as those of `lookout eval --mot FOLDER --write DIR`, instead of running trackers.
"""

import argparse
import configparser
import json
import pathlib
import warnings

import motmetrics
import numpy
from scipy.optimize import linear_sum_assignment

METRICS = ["idf1", "mota", "num_switches", "num_false_positives", "num_misses", "num_fragmentations"]


def iou(a, b):
    low, high = numpy.maximum(a[:, None, :2], b[None, :, :2]), numpy.minimum(a[:, None, 2:], b[None, :, 2:])
    both = numpy.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (a, b)]
    return both / (areas[0][:, None] + areas[1][None, :] - both)


class Kalman:
    """The Kalman filter of SORT: center, area and aspect ratio, with constant velocity of the first three."""

    def __init__(self, box):
        self.x = numpy.append(self.measured(box), [0, 0, 0])
        self.p = numpy.diag([10.0] * 4 + [10000.0] * 3)
        self.f = numpy.eye(7) + numpy.diag([1.0] * 3, k=4)
        self.q = numpy.diag([1.0] * 4 + [0.01, 0.01, 0.0001])
        self.r = numpy.diag([1.0, 1.0, 10.0, 10.0])
        self.h = numpy.eye(4, 7)
        self.misses = self.streak = 0

    @staticmethod
    def measured(box):
        width, height = box[2] - box[0], box[3] - box[1]
        return numpy.array([box[0] + width / 2, box[1] + height / 2, width * height, width / height])

    def predict(self):
        if self.x[6] + self.x[2] <= 0:
            self.x[6] = 0.0
        self.x = self.f @ self.x
        self.p = self.f @ self.p @ self.f.T + self.q
        if self.misses > 0:
            self.streak = 0
        self.misses += 1
        return self.box()

    def update(self, box):
        self.misses = 0
        self.streak += 1
        innovation = self.measured(box) - self.h @ self.x
        gain = self.p @ self.h.T @ numpy.linalg.inv(self.h @ self.p @ self.h.T + self.r)
        self.x = self.x + gain @ innovation
        rest = numpy.eye(7) - gain @ self.h
        self.p = rest @ self.p @ rest.T + gain @ self.r @ gain.T

    def box(self):
        with numpy.errstate(invalid="ignore"):
            width = numpy.sqrt(self.x[2] * self.x[3])
        height = self.x[2] / width
        return numpy.array([self.x[0] - width / 2, self.x[1] - height / 2,
                            self.x[0] + width / 2, self.x[1] + height / 2])


class Sort:
    def __init__(self, max_age):
        self.max_age, self.min_hits, self.min_iou = max_age, 3, 0.3
        self.tracks, self.frame, self.ids = [], 0, 0

    def update(self, boxes, scores):
        self.frame += 1
        predicted = [track.predict() for track in self.tracks]
        kept = [i for i, box in enumerate(predicted) if numpy.isfinite(box).all()]
        self.tracks, predicted = [self.tracks[i] for i in kept], [predicted[i] for i in kept]
        free = set(range(len(boxes)))
        if self.tracks and len(boxes):
            overlap = iou(boxes, numpy.array(predicted))
            for detection, track in zip(*linear_sum_assignment(-overlap)):
                if overlap[detection, track] >= self.min_iou:
                    self.tracks[track].update(boxes[detection])
                    free.discard(detection)
        for detection in sorted(free):
            track = Kalman(boxes[detection])
            self.ids += 1
            track.id = self.ids
            self.tracks.append(track)
        found = [(track.id, track.box()) for track in self.tracks
                 if track.misses == 0 and (track.streak >= self.min_hits or self.frame <= self.min_hits)]
        self.tracks = [track for track in self.tracks if track.misses <= self.max_age]
        return found


class Package:
    """A tracker of the package `trackers`."""

    def __init__(self, name):
        import supervision
        import trackers
        self.supervision, self.tracker = supervision, getattr(trackers, name)()

    def update(self, boxes, scores):
        detections = self.supervision.Detections(xyxy=boxes, confidence=scores, class_id=numpy.zeros(len(boxes), int))
        result = self.tracker.update(detections)
        return [(int(id), box) for id, box in zip(result.tracker_id, result.xyxy) if id >= 0]


TRACKERS = {
    "sort": lambda: Sort(1),
    "sort-30": lambda: Sort(30),
    "bytetrack": lambda: Package("ByteTrackTracker"),
    "ocsort": lambda: Package("OCSORTTracker"),
    "cbiou": lambda: Package("CBIoUTracker"),
}


def table(path):
    rows = [[float(field) for field in line.split(",")[:7]] for line in path.read_text().split()]
    frames = {}
    for frame, identity, x, y, width, height, score in rows:
        frames.setdefault(int(frame), []).append((int(identity), [x, y, x + width, y + height], score))
    return frames


def sequences(folder):
    for info in sorted(folder.glob("*/seqinfo.ini")):
        parser = configparser.ConfigParser()
        parser.read(info)
        length = int(parser["Sequence"]["seqLength"])
        yield info.parent.name, length, table(info.parent / "det/det.txt"), table(info.parent / "gt/gt.txt")


def arrays(rows):
    return numpy.array([box for _, box, _ in rows], float).reshape(-1, 4), numpy.array([row[2] for row in rows], float)


def followed(tracker, detections, numbers):
    return {number: tracker.update(*arrays(detections.get(number, []))) for number in numbers}


def accumulated(truth, found, numbers):
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for number in numbers:
        # Objects marked with 0 are not evaluated.
        objects = [row for row in truth.get(number, []) if row[2] != 0]
        tracks = found.get(number, [])
        boxes = [numpy.array([row[1] for row in rows], float).reshape(-1, 4) for rows in (objects, tracks)]
        # motmetrics' own function does not work with numpy 2.
        distances = 1 - iou(*boxes)
        distances[distances > 0.5] = numpy.nan
        accumulator.update([row[0] for row in objects], [row[0] for row in tracks], distances)
    return accumulator


def main():
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--write", type=pathlib.Path)
    parser.add_argument("--results", type=pathlib.Path)
    parser.add_argument("--trackers", nargs="*", default=list(TRACKERS))
    arguments = parser.parse_args()
    names = [str(arguments.results)] if arguments.results else arguments.trackers
    for name in names:
        accumulators, labels = [], []
        for sequence, length, detections, truth in sequences(arguments.folder):
            numbers = range(1, length + 1, arguments.every)
            if arguments.results:
                rows = table(arguments.results / f"{sequence}.txt")
                found = {number: [(identity, box) for identity, box, _ in of] for number, of in rows.items()}
            else:
                found = followed(TRACKERS[name](), detections, numbers)
            if arguments.write:
                (arguments.write / name).mkdir(parents=True, exist_ok=True)
                lines = [f"{number},{i},{b[0]},{b[1]},{b[2] - b[0]},{b[3] - b[1]},1,-1,-1,-1\n"
                         for number, of in found.items() for i, b in of]
                (arguments.write / name / f"{sequence}.txt").write_text("".join(lines))
            accumulators.append(accumulated(truth, found, numbers))
            labels.append(sequence)
        summary = motmetrics.metrics.create().compute_many(accumulators, names=labels, metrics=METRICS,
                                                           generate_overall=True)
        print(json.dumps({"tracker": name, "every": arguments.every}
                         | {metric: round(float(summary.loc["OVERALL", metric]), 6) for metric in METRICS}), flush=True)


main()
