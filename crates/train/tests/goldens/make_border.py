#!/usr/bin/env python3
"""Writes `border.json`: a COCO file with boxes that cross the border, have no area or are outside of the image,
detections for it, and pycocotools' twelve metrics.

    scripts/pycocotools.sh && PYTHON make_border.py
"""

import contextlib
import io
import json
import pathlib

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

HERE = pathlib.Path(__file__).parent
IMAGES, WIDTH, HEIGHT = 12, 200, 160


def main():
    chance = np.random.default_rng(16)
    images = [{"id": 5 + 3 * i, "file_name": f"{i}.jpg", "width": WIDTH, "height": HEIGHT} for i in range(IMAGES)]
    annotations, found = [], []
    for image in images:
        for _ in range(7):
            # Multiples of an eighth are exact in every floating-point type.
            x, y = chance.integers(-60 * 8, WIDTH * 8) / 8, chance.integers(-60 * 8, HEIGHT * 8) / 8
            width, height = chance.integers(8, 120 * 8, 2) / 8
            kind = chance.integers(10)
            if kind == 0:
                width = 0.0
            elif kind == 1:
                x, y = WIDTH + 10.0, HEIGHT + 10.0
            elif kind == 2:
                height = 0.0
            category = int(chance.choice([2, 9]))
            annotations.append({
                "id": len(annotations) + 1, "image_id": image["id"], "category_id": category,
                "bbox": [float(x), float(y), float(width), float(height)], "area": float(width * height),
                "iscrowd": int(chance.random() < 0.1),
            })
            if width * height > 0 and chance.random() < 0.8:
                # Like the output of a detector: inside the image, with a small error.
                off = chance.integers(-24, 25, 4) / 8
                x1, y1 = max(x + off[0], 0.0), max(y + off[1], 0.0)
                x2, y2 = min(x + width + off[2], float(WIDTH)), min(y + height + off[3], float(HEIGHT))
                if x2 > x1 and y2 > y1:
                    found.append({
                        "image_id": image["id"], "category_id": category,
                        "bbox": [float(v) for v in (x1, y1, x2 - x1, y2 - y1)],
                        "score": float(np.float32(chance.random())),
                    })
    truth = {
        "images": images, "annotations": annotations,
        "categories": [{"id": 2, "name": "cat"}, {"id": 9, "name": "dog"}],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(truth))
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(json.loads(json.dumps(found))), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    golden = {"truth": truth, "found": found, "stats": [float(stat) for stat in evaluation.stats]}
    (HERE / "border.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
