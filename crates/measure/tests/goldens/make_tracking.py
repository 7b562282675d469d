"""Writes tracking.json: the metrics of py-motmetrics and TrackEval for random tracks of random objects.

    python="$(scripts/motmetrics.sh)"
    "$python" -m pip install --no-deps trackeval==1.0.0
    "$python" crates/measure/tests/goldens/make_tracking.py
"""

import json
import pathlib
import random

import motmetrics
import numpy
from trackeval.metrics.hota import HOTA

METRICS = ["num_frames", "num_objects", "num_predictions", "num_misses", "num_false_positives", "num_switches",
           "num_fragmentations", "mota", "motp", "idf1"]


def sequence(seed):
    r = random.Random(seed)
    objects = [[r.uniform(0, 300), r.uniform(0, 200), r.uniform(-8, 8), r.uniform(-8, 8), r.choice([20, 40, 60])]
               for _ in range(r.randint(2, 9))]
    ids = {}
    frames = []
    for t in range(40):
        truth, tracks = [], []
        for number, (x, y, vx, vy, side) in enumerate(objects):
            x, y = x + vx * t, y + vy * t
            if r.random() < 0.1:
                continue
            truth.append([number + 1, x, y, x + side, y + side])
            if number not in ids or r.random() < 0.04:
                ids[number] = r.randint(1, 12)
            if r.random() < 0.85:
                dx, dy = r.gauss(0, side / 12), r.gauss(0, side / 12)
                tracks.append([ids[number], x + dx, y + dy, x + dx + side, y + dy + side])
        # Each id occurs once per frame.
        tracks = list({row[0]: row for row in tracks}.values())
        if r.random() < 0.2 and all(row[0] != 99 for row in tracks):
            tracks.append([99, 5.0, 5.0, 50.0, 50.0])
        frames.append({"truth": truth, "tracks": tracks})
    return json.loads(json.dumps(frames), parse_float=lambda text: float(numpy.float32(text)))


def judged(frames):
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for frame in frames:
        def rows(kind):
            boxes = numpy.array([[x1, y1, x2 - x1, y2 - y1] for _, x1, y1, x2, y2 in frame[kind]]).reshape(-1, 4)
            return [row[0] for row in frame[kind]], boxes
        (truth, truth_boxes), (tracks, track_boxes) = rows("truth"), rows("tracks")
        accumulator.update(truth, tracks, motmetrics.distances.iou_matrix(truth_boxes, track_boxes, max_iou=0.5))
    summary = motmetrics.metrics.create().compute(accumulator, metrics=METRICS, name="it")
    return {name: float(summary.loc["it", name]) for name in METRICS} | hota(frames)


def hota(frames):
    """Returns HOTA, DetA and AssA of TrackEval, averaged over its thresholds."""
    data = {"gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    index = {kind: {} for kind in ("truth", "tracks")}
    for frame in frames:
        for kind, key in (("truth", "gt_ids"), ("tracks", "tracker_ids")):
            ids = [index[kind].setdefault(row[0], len(index[kind])) for row in frame[kind]]
            data[key].append(numpy.array(ids, dtype=int))
        similarity = numpy.zeros((len(frame["truth"]), len(frame["tracks"])))
        for i, (_, *a) in enumerate(frame["truth"]):
            for j, (_, *b) in enumerate(frame["tracks"]):
                sides = [max(0.0, min(a[k + 2], b[k + 2]) - max(a[k], b[k])) for k in (0, 1)]
                areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
                similarity[i, j] = sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])
        data["similarity_scores"].append(similarity)
    for key, kind in (("gt", "truth"), ("tracker", "tracks")):
        data[f"num_{key}_ids"] = len(index[kind])
        data[f"num_{key}_dets"] = sum(len(frame[kind]) for frame in frames)
    result = HOTA().eval_sequence(data)
    return {name: float(numpy.mean(result[key])) for name, key in
            (("hota", "HOTA"), ("det_a", "DetA"), ("ass_a", "AssA"))}


cases = [{"frames": frames, "expected": judged(frames)} for frames in map(sequence, range(6))]
pathlib.Path(__file__).with_name("tracking.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
