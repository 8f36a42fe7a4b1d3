"""Explanations of convolutional networks that can be trusted.

    import faithful_xai as fx

    net = fx.load("resnet50.onnx")
    net.explain("photo.jpg", method="expected-grad-cam").save("map.png")

`load` reads ONNX files and weights of known architectures, `from_torch` takes a PyTorch module. `Network.explain` gives raw maps by any of
`methods()`; the classes of `faithful_xai.cam` are called as pytorch-grad-cam's, those of `faithful_xai.attribution` as Captum's. The functions of
`faithful_xai.metrics` judge maps of any library.
"""

from __future__ import annotations

from . import attribution, cam, errors, metrics, quantus, rul
from ._api import gradients, methods, models, set_threads, threads
from ._native import __version__
from .attribution import (
    LRP,
    Deconvolution,
    DeepLift,
    ExpectedGradients,
    GradientShap,
    GuidedBackprop,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    LayerGradientXActivation,
    LayerIntegratedGradients,
    Saliency,
)
from .cam import *  # noqa: F403
from .cam import __all__ as _cams
from .errors import FaithfulError
from .evaluation import Run, evaluate
from .explanation import Convergence, Explanation
from .exporters import from_keras, from_torch
from .image import show_cam_on_image
from .metrics import measure
from .network import Attribution, Detection, Layer, Network, Prediction, load
from .targets import ClassifierOutputMarginTarget, ClassifierOutputSoftmaxTarget, ClassifierOutputTarget

__all__ = [
    "LRP",
    "Attribution",
    "ClassifierOutputMarginTarget",
    "ClassifierOutputSoftmaxTarget",
    "ClassifierOutputTarget",
    "Convergence",
    "Deconvolution",
    "DeepLift",
    "Detection",
    "ExpectedGradients",
    "Explanation",
    "FaithfulError",
    "GradientShap",
    "GuidedBackprop",
    "InputXGradient",
    "IntegratedGradients",
    "Layer",
    "LayerGradCam",
    "LayerGradientXActivation",
    "LayerIntegratedGradients",
    "Network",
    "Prediction",
    "Run",
    "Saliency",
    "__version__",
    "attribution",
    "cam",
    "errors",
    "evaluate",
    "from_keras",
    "from_torch",
    "gradients",
    "load",
    "measure",
    "methods",
    "metrics",
    "models",
    "quantus",
    "rul",
    "set_threads",
    "show_cam_on_image",
    "threads",
]
__all__ += _cams
