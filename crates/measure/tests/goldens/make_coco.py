#!/usr/bin/env python3
"""Writes `coco.json`: pycocotools' metrics for random detections of random objects, and of the objects of a data set.

    "$(scripts/pycocotools.sh)" crates/measure/tests/goldens/make_coco.py [FOLDER OF PASCAL VOC]

All numbers are multiples of 1/4, and scores of 1/64, so that they are exact in every format and many scores are equal.
Only the scores of the case `fine` have all digits of an f32. An object is `[class, ignored, area, x, y, width,
height]`, a detection `[class, score, x, y, width, height]`. Without the folder, the objects of the data set are taken
from the existing `coco.json`.
"""

import contextlib
import io
import json
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

HERE = Path(__file__).parent
GOLDEN = HERE / "coco.json"


def quarter(values):
    return np.round(np.asarray(values) * 4) / 4


def box(rng, largest, side=640):
    width, height = quarter(np.maximum(rng.uniform(1, largest, 2), 0.25))
    x, y = quarter(rng.uniform(0, side, 2))
    return [float(v) for v in (x, y, width, height)]


def by_chance(rng, pictures, classes, absent):
    """Returns objects of all sizes whose areas are a part of their boxes; some images are empty."""
    truth = []
    for _ in range(pictures):
        objects = []
        for _ in range(rng.choice([0, 1, 3, 8])):
            of = int(rng.choice([c for c in range(1, classes + 1) if c not in absent]))
            corners = box(rng, rng.choice([20, 60, 200, 600]))
            area = corners[2] * corners[3] * rng.choice([1.0, 0.75, 0.5, 0.25])
            objects.append([of, int(rng.random() < 0.15), float(quarter(area)), *corners])
        truth.append(objects)
    # Areas at the limits between the size ranges, which belong to both ranges.
    truth[0] += [[1, 0, 1024.0, 8, 8, 32, 32], [1, 0, 9216.0, 100, 100, 96, 96], [1, 0, 1024.25, 300, 8, 32, 32.25]]
    return truth


def of_voc(folder, rng, pictures=24):
    names = {"RBC": 1, "WBC": 2, "Platelets": 3}
    truth = []
    for path in sorted((folder / "Annotations").glob("*.xml"))[:pictures]:
        objects = []
        for node in ElementTree.parse(path).iter("object"):
            x1, y1, x2, y2 = (float(node.find(f"bndbox/{k}").text) for k in ("xmin", "ymin", "xmax", "ymax"))
            width, height = x2 - x1, y2 - y1
            if width > 0 and height > 0:
                crowd = int(rng.random() < 0.1)
                objects.append([names[node.find("name").text], crowd, width * height, x1, y1, width, height])
        truth.append(objects)
    return truth


def detections(rng, truth, classes, noise, wild, fine):
    """Returns detections near the objects: some twice, some missing, some of another class; and in some images `wild`
    false positives."""
    found = []
    for objects in truth:
        of_picture = []
        for of, _, _, *corners in objects:
            for _ in range(rng.choice([0, 1, 1, 1, 2])):
                size = np.array(corners[2:] * 2)
                moved = quarter(np.array(corners) + rng.normal(0, noise, 4) * size)
                moved[2:] = np.maximum(moved[2:], 0.25)
                cls = of if rng.random() < 0.9 else int(rng.integers(1, classes + 1))
                of_picture.append([cls, score(rng, 0.3, fine), *map(float, moved)])
        for _ in range(rng.choice([0, 0, wild])):
            cls = int(rng.integers(1, classes + 1))
            of_picture.append([cls, score(rng, 0.0, fine), *box(rng, rng.choice([30, 90, 400]))])
        rng.shuffle(of_picture)
        found.append([[int(cls), *rest] for cls, *rest in of_picture])
    return found


def score(rng, least, fine):
    value = rng.uniform(least, 1)
    return float(np.float32(value)) if fine else float(np.round(value * 64) / 64)


def measured(truth, found, classes, crowds):
    ids = list(range(1, len(truth) + 1))
    annotations = [
        {"image_id": i, "category_id": o[0], "iscrowd": o[1], "area": o[2], "bbox": o[3:]}
        for i, objects in zip(ids, truth)
        for o in objects
    ]
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in ids],
        "categories": [{"id": c, "name": str(c)} for c in range(1, classes + 1)],
        "annotations": annotations,
    }
    coco.createIndex()
    results = [
        {"image_id": i, "category_id": d[0], "score": d[1], "bbox": d[2:]}
        for i, of_picture in zip(ids, found)
        for d in of_picture
    ]
    evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
    if not crowds:
        # Objects that are ignored, but matched like other objects. pycocotools sets `ignore` from `iscrowd`, so
        # `iscrowd` is cleared only after that.
        prepare = evaluation._prepare

        def prepared():
            prepare()
            for objects in evaluation._gts.values():
                for o in objects:
                    o["iscrowd"] = 0

        evaluation._prepare = prepared
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    # [T, R, K, A, M]
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    recall = evaluation.eval["recall"][:, :, 0, 2]

    def mean(values):
        return float(np.mean(values))

    return {
        "stats": [float(s) for s in evaluation.stats],
        "per_class": [[mean(precision[:, :, k]), mean(precision[0, :, k])] for k in range(classes)],
        "recall50": [float(recall[0, k]) for k in range(classes)],
    }


CASES = {
    # name: (seed, pictures, classes, absent, noise, wild, crowds, fine)
    "few": (1, 12, 3, [], 0.05, 6, True, False),
    "noisy": (2, 20, 5, [2], 0.2, 12, True, False),
    "crowded": (3, 8, 2, [], 0.1, 320, True, False),
    "fine": (4, 20, 4, [3], 0.1, 10, True, True),
    "difficult": (5, 20, 4, [4], 0.1, 10, False, False),
    "exact": (6, 14, 3, [], 0.0, 3, True, False),
    "nothing": (7, 4, 2, [], 0.1, 0, True, False),
    "bccd": (8, None, 3, [], 0.08, 10, True, False),
    "bccd difficult": (9, None, 3, [], 0.08, 10, False, False),
}


def main():
    cases = []
    for name, (seed, pictures, classes, absent, noise, wild, crowds, fine) in CASES.items():
        rng = np.random.default_rng(seed)
        if pictures is not None:
            truth = by_chance(rng, pictures, classes, absent)
        elif len(sys.argv) > 1:
            truth = of_voc(Path(sys.argv[1]), rng)
        else:
            truth = next(case["truth"] for case in json.loads(GOLDEN.read_text()) if case["name"] == name)
        found = detections(rng, truth, classes, noise, wild, fine)
        with contextlib.redirect_stdout(io.StringIO()):
            expected = measured(truth, found, classes, crowds)
        cases.append({"name": name, "classes": classes, "crowds": crowds, "truth": truth, "found": found, **expected})
        most = max(len(of_picture) for of_picture in found)
        print(name, f"{sum(map(len, truth))} objects, {sum(map(len, found))} found, {most} at most;", end=" ")
        print([round(s, 3) for s in expected["stats"]])
    short = json.dumps(cases, separators=(",", ":")).replace(".0,", ",").replace(".0]", "]")
    GOLDEN.write_text(short.replace('{"name"', '\n{"name"') + "\n")


main()
