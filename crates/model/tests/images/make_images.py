#!/usr/bin/env python3
"""Writes the images in this folder, and `pillow.json`: Pillow's results for intact, damaged and rotated images.

    pip install pillow==13.0.0 numpy==2.3.5 && python make_images.py

A case of `damaged` names an image and the damage: truncated to `cut` bytes, or with `bytes` written at the offset `at`.
torchvision's `ImageFolder` and detection data sets read images with Pillow.
"""

import io
import json
import pathlib
import random

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT = 120, 88


def image():
    """Returns a smooth image with a little noise, so that every JPEG block has several coefficients."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [x * 255 / WIDTH, y * 255 / HEIGHT, np.sin(x / 9) * np.cos(y / 7) * 100 + 128]
    noise = np.random.default_rng(1).integers(-10, 11, (HEIGHT, WIDTH, 3))
    return Image.fromarray(np.clip(np.stack(planes, -1) + noise, 0, 255).astype(np.uint8))


def accepts(content):
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
        return True
    except (OSError, SyntaxError, ValueError):
        return False


def damaged(name, content):
    yield {"file": name, "accepted": accepts(content)}
    length = len(content)
    for cut in [2, length // 20, length // 5, length // 2, length * 4 // 5, length - 200, length - 20, length - 3, length - 2, length - 1]:
        yield {"file": name, "cut": cut, "accepted": accepts(content[:cut])}
    chance = random.Random(name)
    for _ in range(12):
        at = chance.randrange(length // 3, length * 3 // 4)
        garbage = chance.randbytes(40)
        changed = content[:at] + garbage + content[at + 40 :]
        yield {"file": name, "at": at, "bytes": garbage.hex(), "accepted": accepts(changed)}
    for tail in [b"\0" * 64, b"SEFT and more behind the end"]:
        yield {"file": name, "at": length, "bytes": tail.hex(), "accepted": accepts(content + tail)}


def turned():
    """Writes quarters of four colors for each EXIF orientation; yields the displayed colors of the corners."""
    quarters = np.zeros((24, 40, 3), np.uint8)
    quarters[:12, :20], quarters[:12, 20:] = (220, 30, 30), (30, 200, 30)
    quarters[12:, :20], quarters[12:, 20:] = (30, 30, 220), (230, 230, 40)
    for name, orientations in [("turned-{}.jpg", range(1, 9)), ("turned-{}.png", [6]), ("turned-{}.webp", [8])]:
        for orientation in orientations:
            exif = Image.Exif()
            exif[0x0112] = orientation
            path = HERE / name.format(orientation)
            Image.fromarray(quarters).save(path, exif=exif, quality=95)
            shown = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
            width, height = shown.size
            corners = [shown.getpixel(at) for at in [(4, 4), (width - 5, 4), (4, height - 5), (width - 5, height - 5)]]
            yield {"file": path.name, "orientation": orientation, "size": [width, height], "corners": corners}


def main():
    ways = {
        "baseline.jpg": {"quality": 88},
        "full-color.jpg": {"quality": 80, "subsampling": 0},
        "optimized.jpg": {"quality": 70, "optimize": True},
        "progressive.jpg": {"quality": 85, "progressive": True},
        "restarts.jpg": {"quality": 85, "restart_marker_rows": 1},
        "image.png": {},
        "lossy.webp": {"quality": 85},
        "lossless.webp": {"lossless": True},
        "image.bmp": {},
    }
    cases = []
    for name, options in ways.items():
        image().save(HERE / name, **options)
        cases += damaged(name, (HERE / name).read_bytes())
    for name, options in [("gray.jpg", {}), ("gray-progressive.jpg", {"progressive": True})]:
        image().convert("L").save(HERE / name, quality=85, **options)
        cases += damaged(name, (HERE / name).read_bytes())
    image().convert("CMYK").save(HERE / "cmyk.jpg", quality=85)
    cases += damaged("cmyk.jpg", (HERE / "cmyk.jpg").read_bytes())
    golden = {"damaged": cases, "turned": list(turned())}
    (HERE / "pillow.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
