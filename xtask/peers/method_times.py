"""Seconds per explanation of TorchCAM and pytorch-grad-cam on VGG16 at 224x224 with random weights: JSON lines.

    python xtask/peers/method_times.py [METHOD ...]
"""

import json
import sys
import time

import pytorch_grad_cam
import torch
import torchvision
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torchcam import methods as tc

torch.manual_seed(7)
model = torchvision.models.vgg16(weights=None).eval()
for module in model.modules():
    if hasattr(module, "inplace"):
        module.inplace = False
target = model.features[29]
x = torch.randn(1, 3, 224, 224)

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


def timed(peer, method, run, repeats):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"peer": peer, "method": method, "seconds": min(seconds)}), flush=True)


wanted = sys.argv[1:] or sorted({*TORCHCAM, *GRAD_CAM})
batch = torch.randn(8, 3, 224, 224)
with torch.no_grad():
    model(batch)
    start = time.perf_counter()
    for rows in [8] * 6 + [2]:
        model(batch[:rows])
    print(json.dumps({"peer": "torch", "method": "forward", "seconds": time.perf_counter() - start}), flush=True)
for method in wanted:
    repeats = 1 if method in {"score-cam", "ss-cam", "is-cam", "ablation-cam"} else 3
    if method in TORCHCAM:
        with TORCHCAM[method](model, target) as extractor:
            timed("TorchCAM", method, lambda: extractor(3, model(x.clone().requires_grad_())), repeats)
    if method in GRAD_CAM:
        with GRAD_CAM[method](model, [] if method == "full-grad" else [target]) as extractor:
            timed("pytorch-grad-cam", method, lambda: extractor(x.clone(), [ClassifierOutputTarget(3)]), repeats)
