"""Measures the training throughput of torchvision's reference loop; prints one line of JSON.

The loops are those of torchvision's references/classification/train.py and references/detection/engine.py without
their logging. `crates/train/benches/training_speed.rs` measures Lookout on the same images.

    "$(scripts/peers.sh)" scripts/peers/train.py resnet50 8 224 12 fp32
"""
import json
import statistics
import sys
import time

import torch
import torchvision

arch, batch, side, steps, precision = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
classifier = "fpn" not in arch
if classifier:
    net = torchvision.models.get_model(arch, weights=None, num_classes=1000)
    x = torch.rand(batch, 3, side, side) * 4 - 2
    y = torch.arange(batch)
else:
    # Images of this size are normalized and not resized by the transform.
    net = torchvision.models.get_model(arch, weights=None, weights_backbone=None, num_classes=91, min_size=side, max_size=side)
    x = [torch.rand(3, side, side) for _ in range(batch)]
    parts = torch.tensor([[0.1, 0.1, 0.4, 0.4], [0.3, 0.3, 0.8, 0.8], [0.5, 0.5, 0.6, 0.6]]) * side
    y = [{"boxes": parts, "labels": torch.tensor([1, 2, 3])} for _ in range(batch)]
net.to(device).train()
parameters = [p for p in net.parameters() if p.requires_grad]
optimizer = torch.optim.SGD(parameters, lr=1e-4, momentum=0.9, weight_decay=1e-4)
autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
rates = []
for _ in range(steps):
    begun = time.perf_counter()
    if classifier:
        image, target = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
        with autocast:
            loss = torch.nn.functional.cross_entropy(net(image), target)
    else:
        images = [image.to(device) for image in x]
        targets = [{name: t.to(device) for name, t in target.items()} for target in y]
        with autocast:
            loss = sum(net(images, targets).values())
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    loss.item()
    rates.append(batch / (time.perf_counter() - begun))
rate = statistics.median(rates[2:])
print(json.dumps({"arch": arch, "engine": f"torchvision-{precision}", "device": str(device), "batch": batch, "side": side, "images_per_s": round(rate, 3)}))
