"""Seconds per explanation of TorchCAM, pytorch-grad-cam or Captum at 224x224; `cargo xtask bench-methods` talks to it.

Usage: python method_times.py PEER THREADS [NETWORK], where PEER is one of them; VGG16 by default. Each line of the standard input
is `METHOD LAYERS DRAWS CHANNELS` (0 for the peer's own number of draws; channels are not the peers' to choose), or
`forward` for 50 forward passes; the answer is a line with the seconds, or `nan` where the peer has no such method.
Weights are random: speed does not depend on them.
"""

import sys
import time

import captum.attr as ca
import pytorch_grad_cam
import torch
import torchvision
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchcam import methods as tc

peer = sys.argv[1]
torch.set_num_threads(int(sys.argv[2]))
torch.manual_seed(7)
model = getattr(torchvision.models, sys.argv[3] if len(sys.argv) > 3 else "vgg16")(weights=None).eval()
for module in model.modules():
    if hasattr(module, "inplace"):
        module.inplace = False
x = torch.randn(1, 3, 224, 224)
batch = torch.randn(8, 3, 224, 224)
baselines = torch.randn(16, 3, 224, 224)
silent = lambda iterable, **_: iterable
pytorch_grad_cam.score_cam.tqdm.tqdm = silent
pytorch_grad_cam.ablation_cam.tqdm.tqdm = silent

TORCHCAM = {
    "grad-cam": tc.GradCAM, "grad-cam++": tc.GradCAMpp, "smooth-grad-cam++": tc.SmoothGradCAMpp,
    "xgrad-cam": tc.XGradCAM, "layer-cam": tc.LayerCAM, "score-cam": tc.ScoreCAM, "ss-cam": tc.SSCAM,
    "is-cam": tc.ISCAM,
}
GRAD_CAM = {
    "grad-cam": pytorch_grad_cam.GradCAM, "grad-cam++": pytorch_grad_cam.GradCAMPlusPlus,
    "xgrad-cam": pytorch_grad_cam.XGradCAM, "hires-cam": pytorch_grad_cam.HiResCAM,
    "layer-cam": pytorch_grad_cam.LayerCAM, "grad-cam-elementwise": pytorch_grad_cam.GradCAMElementWise,
    "eigen-cam": pytorch_grad_cam.EigenCAM, "eigen-grad-cam": pytorch_grad_cam.EigenGradCAM,
    "full-grad": pytorch_grad_cam.FullGrad, "score-cam": pytorch_grad_cam.ScoreCAM,
    "ablation-cam": pytorch_grad_cam.AblationCAM,
}
NOISE = {"smooth-grad": "smoothgrad", "smooth-grad-squared": "smoothgrad_sq", "var-grad": "vargrad"}


def captum(method, modules, draws):
    """What attributes by Captum's method, eight rows at a time where it can."""
    if method in NOISE:
        noise = {"nt_type": NOISE[method], "nt_samples": draws, "nt_samples_batch_size": 8, "stdevs": 0.15}
        return lambda: ca.NoiseTunnel(ca.Saliency(model)).attribute(x, target=3, abs=False, **noise)
    plain = {"saliency": ca.Saliency, "gradient-times-input": ca.InputXGradient, "deconvnet": ca.Deconvolution,
             "guided-backpropagation": ca.GuidedBackprop}
    if method in plain:
        return lambda: plain[method](model).attribute(x.clone().requires_grad_(), target=3)
    at_layer = {"grad-cam": ca.LayerGradCam, "guided-grad-cam": ca.GuidedGradCam}
    if method in at_layer and len(modules) == 1:
        return lambda: at_layer[method](model, modules[0]).attribute(x.clone().requires_grad_(), target=3)
    if method == "integrated-gradients":
        return lambda: ca.IntegratedGradients(model).attribute(x, target=3, n_steps=draws, internal_batch_size=8)
    if method == "expected-gradients":
        return lambda: ca.GradientShap(model).attribute(x, baselines, target=3, n_samples=draws)
    if method == "occlusion":
        window = {"sliding_window_shapes": (3, 32, 32), "strides": (3, 16, 16), "perturbations_per_eval": 8}
        return lambda: ca.Occlusion(model).attribute(x, target=3, **window)
    return None


def timed(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def forward():
    with torch.no_grad():
        for rows in [8] * 6 + [2]:
            model(batch[:rows])


def seconds(method, layers, draws):
    modules = [model.get_submodule(name) for name in layers.split(",")] if layers != "-" else []
    if peer == "TorchCAM" and method in TORCHCAM:
        options = {"num_samples": draws} if draws and method in {"smooth-grad-cam++", "ss-cam", "is-cam"} else {}
        with TORCHCAM[method](model, modules, **options) as extractor:
            return timed(lambda: extractor(3, model(x.clone().requires_grad_())))
    if peer == "pytorch-grad-cam" and method in GRAD_CAM:
        with GRAD_CAM[method](model, modules) as extractor:
            return timed(lambda: extractor(x.clone(), [ClassifierOutputTarget(3)]))
    if peer == "Captum" and (run := captum(method, modules, draws)):
        return timed(run)
    return float("nan")


with torch.no_grad():
    model(batch)
for line in sys.stdin:
    words = line.split()
    if words == ["forward"]:
        print(timed(forward), flush=True)
    else:
        print(seconds(words[0], words[1], int(words[2])), flush=True)
