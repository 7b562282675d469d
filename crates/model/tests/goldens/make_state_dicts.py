"""Generates `state_dicts.txt`: the names and sizes of the tensors of torchvision's networks, one line per tensor.

    pip install torch==2.11.0 torchvision==0.26.0
    python make_state_dicts.py

`tests/state_dicts.rs` compares our networks with it, as `load_state_dict(strict=True)` would.
"""

from pathlib import Path

import torchvision
from torchvision.models import detection

CLASSES = 5
CLASSIFIERS = ["resnet18", "resnet50", "wide_resnet50_2", "resnext50_32x4d"]
DETECTORS = [
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "fcos_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "retinanet_resnet50_fpn_v2",
]


def networks():
    for arch in CLASSIFIERS:
        yield arch, getattr(torchvision.models, arch)(num_classes=CLASSES)
    for arch in DETECTORS:
        yield arch, getattr(detection, arch)(weights=None, weights_backbone=None, num_classes=CLASSES)


with open(Path(__file__).parent / "state_dicts.txt", "w") as file:
    for arch, net in networks():
        print(f"[{arch}]", file=file)
        for name, tensor in sorted(net.state_dict().items()):
            # A batch norm uses 0 if a file does not have this tensor (`_load_from_state_dict`, version 2).
            if not name.endswith("num_batches_tracked"):
                print(name, *tensor.shape, file=file)
