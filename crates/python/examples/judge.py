"""Which of several maps of a photo is the most faithful: `python judge.py photo.png`."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt

import faithful_xai as fx


def main(photo: str) -> None:
    """Measures Grad-CAM, integrated gradients, and a map that knows nothing."""
    net = fx.load()
    x = net.prepare(photo)
    with fx.GradCAM(net) as cam:
        maps: dict[str, npt.ArrayLike] = {"Grad-CAM": cam(x)}
    maps["integrated gradients"] = fx.IntegratedGradients(net).attribute(x, n_steps=16).sum(axis=1)
    maps["at random"] = np.random.default_rng(0).random((1, *net.input_shape[1:]))
    for name, one in maps.items():
        found = fx.metrics.measure(net, x, one, ["insertion", "deletion", "drop@30"], steps=32)
        print(f"{name:22}", "  ".join(f"{metric} {values[0]:.3f}" for metric, values in found.values.items()))


if __name__ == "__main__":
    main(sys.argv[1])
