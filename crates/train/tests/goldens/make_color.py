"""Generates color.json: an image, and torchvision's color transforms of it.

    "$(scripts/peers.sh)" crates/train/tests/goldens/make_color.py > crates/train/tests/goldens/color.json

Generated with torchvision 0.26.0.
"""

import json

import torch
from torchvision.transforms.v2 import functional as F

torch.manual_seed(20)
# Random colors, a row of grays, and the corners of the RGB cube.
rgb = torch.randint(0, 256, (3, 12, 20), dtype=torch.uint8)
rgb[:, 0] = rgb[0, 0]
for corner in range(8):
    rgb[:, 1, corner] = torch.tensor([255 * (corner >> bit & 1) for bit in range(3)])

flat = lambda x: x.permute(1, 2, 0).flatten().tolist()
changes = {"brightness": F.adjust_brightness, "contrast": F.adjust_contrast,
           "saturation": F.adjust_saturation, "hue": F.adjust_hue}
factors = {"hue": [-0.5, -0.23, -0.05, 0.0, 0.02, 0.1, 0.37, 0.5]}
usual = [0.0, 0.4, 0.83, 1.0, 1.17, 1.6, 2.5]
changed = {name: [(factor, flat(change(rgb, factor))) for factor in factors.get(name, usual)]
           for name, change in changes.items()}
print(json.dumps({"rgb": flat(rgb), "changed": changed}))
