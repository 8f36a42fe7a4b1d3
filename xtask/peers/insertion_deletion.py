"""Seconds of insertion and deletion as the Poly-CAM authors evaluate, on PyTorch; `cargo xtask bench-metrics` talks to it.

    python insertion_deletion.py THREADS wall|cpu

Each line of the standard input is `NETWORK STEPS BATCH MAP`: a torchvision network, the number of steps, how many pictures go
through it at a time, and the side of the map that is enlarged to the picture. The answer is a line with the seconds of both
curves of one picture; `areas` answers with insertion + 1000 * deletion of the last line, to compare. Weights, picture and map come from
`portable_uniform` (crates/model/src/architecture/random.rs), so that both sides measure the same.

What it mirrors of the authors' `benchmarks/metrics.py` and `evaluation.py` (commit 8003dc6), in other words:
- the network ends in a softmax; no gradients are kept;
- one metric after the other, which share nothing; both take the picture and its blur (11 x 11 taps, sigma 5);
- cells are sorted by an ascending, unstable `argsort` that is turned around;
- all pictures of a curve are made before the first is evaluated: a tensor of STEPS pictures, into each of which the first
  `k * ceil(cells / STEPS)` cells are copied by an index;
- then slices of BATCH pictures go through the network (the authors' default is 1) and the class's column is kept;
- the area is the mean of the STEPS scores, the picture with no changed cell is not evaluated.
"""

import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torchvision.transforms.functional import gaussian_blur

torch.set_num_threads(int(sys.argv[1]))
now = time.process_time if sys.argv[2] == "cpu" else time.perf_counter
SEED = 7
CLASS = 3
SIDE = 224


def mix(x):
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def uniform(name, shape):
    key = 0xCBF29CE484222325 ^ SEED
    for byte in name.encode():
        key = (key ^ byte) * 0x100000001B3 % 2**64
    low, high = np.uint32(key % 2**32), np.uint32(key >> 32)
    bits = mix(mix(np.arange(np.prod(shape), dtype=np.uint32) ^ low) + high) >> np.uint32(8)
    return torch.from_numpy((bits.astype(np.float32) * np.float32(2.0**-23) - np.float32(1)).reshape(shape))


def parameter(name, shape):
    last = name.rsplit(".")[-1]
    if last == "running_var":
        offset, factor = 1.0, 0.5
    elif last == "weight" and len(shape) == 1:
        offset, factor = 0.75, 0.25
    elif last == "weight":
        offset, factor = 0.0, (6.0 / np.prod(shape[1:])) ** 0.5
    else:
        offset, factor = 0.0, 0.1
    return offset + factor * uniform(name, shape)


def network(name):
    model = getattr(torchvision.models, name)(weights=None)
    state = model.state_dict()
    for key, value in state.items():
        if not key.endswith("num_batches_tracked"):
            state[key] = parameter(key, tuple(value.shape))
    model.load_state_dict(state)
    return torch.nn.Sequential(model.eval(), torch.nn.Softmax(dim=-1))


def pictures(order, start, end, steps):
    cells = order.shape[-1]
    per_step = -(-cells // steps)
    rows = torch.ones(steps, *start.shape[-3:]) * start
    for step in range(steps):
        chosen = order[:, : per_step * (step + 1)]
        rows[step].view(-1, cells)[..., chosen] = end.view(-1, cells)[..., chosen]
    return rows


def area(model, order, start, end, steps, batch):
    rows = pictures(order, start, end, steps)
    scores = torch.zeros(steps)
    for first in range(0, steps, batch):
        scores[first : first + batch] = model(rows[first : first + batch])[:, CLASS]
    return (scores.sum() / steps).item()


def both(model, image, saliency, steps, batch):
    areas = []
    for insertion in [True, False]:
        blurred = gaussian_blur(image, [11, 11], [5, 5])
        order = torch.flip(saliency.view(-1, SIDE * SIDE).argsort(), dims=[-1])
        start, end = (blurred, image) if insertion else (image, blurred)
        areas.append(area(model, order, start, end, steps, batch))
    return areas


models, areas = {}, [0.0, 0.0]
with torch.no_grad():
    for line in sys.stdin:
        words = line.split()
        if words == ["areas"]:
            print(areas[0] + 1000 * areas[1], flush=True)
            continue
        name, steps, batch, side = words[0], int(words[1]), int(words[2]), int(words[3])
        if name not in models:
            models.clear()
            models[name] = network(name)
            models[name](uniform("warm", (batch, 3, SIDE, SIDE)))
        image = 2 * uniform("picture", (1, 3, SIDE, SIDE))
        # One object in the middle, as class activation maps have it, and some noise.
        away = ((torch.arange(side) + 0.5) / side - 0.5) * 4.0
        low = torch.exp(-(away[:, None] ** 2 + away[None, :] ** 2) / 2) + 0.1 * uniform("map", (side, side))
        saliency = F.interpolate(low[None, None], (SIDE, SIDE), mode="bilinear")
        start = now()
        areas = both(models[name], image, saliency, steps, batch)
        print(now() - start, flush=True)
