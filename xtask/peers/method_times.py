"""Seconds per explanation of TorchCAM or pytorch-grad-cam on VGG16 at 224x224; `cargo xtask bench-methods` talks to it.

Usage: python method_times.py PEER THREADS, where PEER is TorchCAM or pytorch-grad-cam. Each line of the standard input
is `METHOD LAYERS DRAWS CHANNELS` (0 for the peer's own number of draws; channels are not the peers' to choose), or
`forward` for 50 forward passes; the answer is a line with the seconds, or `nan` where the peer has no such method.
Weights are random: speed does not depend on them.
"""

import sys
import time

import pytorch_grad_cam
import torch
import torchvision
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchcam import methods as tc

peer = sys.argv[1]
torch.set_num_threads(int(sys.argv[2]))
torch.manual_seed(7)
model = torchvision.models.vgg16(weights=None).eval()
for module in model.modules():
    if hasattr(module, "inplace"):
        module.inplace = False
x = torch.randn(1, 3, 224, 224)
batch = torch.randn(8, 3, 224, 224)
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
    return float("nan")


with torch.no_grad():
    model(batch)
for line in sys.stdin:
    words = line.split()
    if words == ["forward"]:
        print(timed(forward), flush=True)
    else:
        print(seconds(words[0], words[1], int(words[2])), flush=True)
