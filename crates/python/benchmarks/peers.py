"""Seconds per image of this package and of the libraries that people come from, on one network in one run: a table in Markdown.

    python benchmarks/peers.py --network resnet50 --threads 2 --repeat 3

Needs torch, torchvision, pytorch-grad-cam and captum, and onnx and onnxscript for the export. Weights are random: what is computed does not
depend on them. Expected Grad-CAM has no peer, so that it is written out with PyTorch's hooks, in batches as large as ours; insertion and deletion are
those of the authors of Poly-CAM, a row per step, in batches too. The last column is the largest difference of the results, as a share of the largest value.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import faithful_xai as fx

DRAWS = 50
BATCH = 8


def best(work: Callable[[], Any], repeat: int) -> float:
    """The shortest of several runs after one that does not count, in seconds."""
    work()
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def detached(value: Any) -> Any:
    """Without PyTorch's gradients."""
    return value.detach().numpy() if hasattr(value, "detach") else value


def difference(theirs: Any, ours: Any) -> float:
    """The largest difference of two results, as a share of the largest value."""
    numbers = [np.asarray(value, dtype=np.float64).ravel() for value in (theirs, ours)]
    return float(np.abs(numbers[0] - numbers[1]).max() / np.abs(numbers[0]).max())


def curves(measured: Any) -> Any:
    """The scores of both curves, one after the other."""
    return np.concatenate([measured.curves[name][0][1] for name in ("insertion", "deletion")])


def expected_by_hooks(torch: Any, module: Any, layer: Any, x: Any, baselines: Any, alphas: Any, target: int) -> Any:
    """Expected Grad-CAM as one would write it with PyTorch: Buono and Åkesson 2023, Eq. 54-57."""
    kept: list[Any] = []
    hook = layer.register_forward_hook(lambda _module, _input, output: kept.append(output))
    try:
        with torch.no_grad():
            module(x)
            module(baselines[:1])
        own, compared = kept[0], kept[1]
        total = torch.zeros_like(own)
        for start in range(0, len(alphas), BATCH):
            kept.clear()
            points = baselines + alphas[start : start + BATCH].view(-1, 1, 1, 1) * (x - baselines)
            score = module(points.requires_grad_())[:, target].sum()
            (gradient,) = torch.autograd.grad(score, kept[0])
            total = total + ((own - compared) * gradient.detach()).sum(0, keepdim=True)
        weights = (total / len(alphas)).mean((2, 3), keepdim=True)
        return torch.relu((weights * own).sum(1))
    finally:
        hook.remove()


def curves_by_torch(torch: Any, module: Any, x: Any, canvas: Any, order: Any, target: int, steps: int) -> list[float]:
    """Insertion and deletion: pictures with the first pixels of `order` shown or hidden, a batch at a time."""
    curves: list[float] = []
    cells = order.numel()
    for start_from, end_in in ((canvas, x), (x, torch.zeros_like(x))):
        shown = start_from.clone().flatten(2)
        pictures = []
        for step in range(steps + 1):
            part = order[step * cells // steps : (step + 1) * cells // steps]
            pictures.append(shown.clone().view_as(x))
            shown[:, :, part] = end_in.flatten(2)[:, :, part]
        with torch.no_grad():
            for start in range(0, len(pictures), BATCH):
                output = module(torch.cat(pictures[start : start + BATCH]))
                curves += torch.softmax(output, 1)[:, target].tolist()
    return curves


def main() -> None:
    """Prints the table."""
    import captum.attr
    import pytorch_grad_cam
    import torch
    import torchvision
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet50", help="an architecture of torchvision")
    parser.add_argument("--layer", help="the target layer; by default that of the network")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=224, help="of insertion and deletion")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    fx.set_threads(arguments.threads)
    torch.manual_seed(0)
    module = getattr(torchvision.models, arguments.network)(weights=None).eval()
    x = torch.randn(1, 3, arguments.size, arguments.size)
    net = fx.from_torch(module, x)
    name = arguments.layer or ("features.29" if arguments.network.startswith("vgg16") else "layer4")
    layer = module.get_submodule(name)
    zero, draws = torch.zeros_like(x), torch.rand(DRAWS)
    values, maps = x.numpy(), np.random.default_rng(0).random((1, arguments.size, arguments.size)).astype(np.float32)
    order = torch.from_numpy(np.argsort(-maps.ravel(), kind="stable").copy())

    with pytorch_grad_cam.GradCAM(model=module, target_layers=[layer]) as cam:
        # Of random weights not every class has a map.
        target = next(number for number in range(1000) if np.nanmax(cam(x, [ClassifierOutputTarget(number)])) > 0)
        rows = [
            (
                "Grad-CAM",
                "pytorch-grad-cam",
                lambda: cam(x, [ClassifierOutputTarget(target)]),
                lambda: fx.GradCAM(net, [name], definition="pytorch-grad-cam")(values, [target]),
            ),
            (
                f"Expected Grad-CAM, {DRAWS} draws",
                "PyTorch, by hooks",
                lambda: expected_by_hooks(torch, module, layer, x, zero, draws, target),
                lambda: net.explain(values, target, method="expected-grad-cam", layers=[name], draws=DRAWS),
            ),
            (
                f"integrated gradients, {DRAWS} steps",
                "Captum",
                lambda: captum.attr.IntegratedGradients(module).attribute(x, target=target, n_steps=DRAWS, internal_batch_size=BATCH),
                lambda: fx.IntegratedGradients(net).attribute(values, target=target, n_steps=DRAWS),
            ),
            (
                f"insertion and deletion, {arguments.steps} steps",
                "PyTorch, batches",
                lambda: curves_by_torch(torch, module, x, zero, order, target, arguments.steps),
                lambda: curves(
                    fx.metrics.measure(
                        net, values, maps, ["insertion", "deletion"], targets=target, insertion_canvas="zero", steps=arguments.steps
                    )
                ),
            ),
        ]
        print(f"{arguments.network}, {arguments.size} pixels, {arguments.threads} threads, the shortest of {arguments.repeat}; seconds\n")
        print("| | peer | seconds | faithful-xai | ratio | difference |\n|---|---|---|---|---|---|")
        for what, peer, theirs, ours in rows:
            slow, fast = best(theirs, arguments.repeat), best(ours, arguments.repeat)
            apart = "other draws" if "draws" in what else f"{difference(detached(theirs()), ours()):.0e}"
            print(f"| {what} | {peer} | {slow:.3f} | {fast:.3f} | {slow / fast:.1f} | {apart} |", flush=True)
    flat = np.ones((1, 7, 7), np.float32)
    overhead = best(lambda: [fx.metrics.sparseness(net, values, flat, targets=target) for _ in range(20)], 5) / 20
    print(f"\nA call that passes nothing through the network: {overhead * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
