"""The keyword arguments that are passed on to the library, by the names that the command line has for them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypedDict, Union


class LoadOptions(TypedDict, total=False):
    """What is said of a network above what its files say; see `load`."""

    #: The output that is explained, by its name or number, where an ONNX file has several.
    output: str
    #: The size of the network's input where a file leaves it free: a side in pixels, or `(height, width)`.
    input_size: Union[int, tuple[int, int]]
    #: The shorter side that photos are resized to, or `(height, width)`, to which they are squashed.
    resize: Union[int, tuple[int, int], str]
    #: The centre that is cut out after resizing; `"none"` keeps the whole photo.
    crop: Union[int, tuple[int, int], str]
    #: `crop`, `stretch` or `pad`: how photos of other proportions fit.
    fit: str
    #: Colour of the bars of `fit="pad"`: red, green and blue in 0 to 255.
    pad_color: tuple[int, int, int]
    #: `rgb`, `bgr` or `grey`.
    channels: str
    #: The value of white before mean and deviation are applied: 1, or 255 for pixels as they are.
    scale: float
    #: How outputs become probabilities: `softmax` or `sigmoid`.
    activation: str
    #: `classification`, `segmentation` or `detection`.
    task: str
    #: Per channel, what is subtracted; with `std`.
    mean: Sequence[float]
    #: Per channel, what is divided by; with `mean`.
    std: Sequence[float]
    #: How photos are resized: `nearest`, `bilinear`, `bicubic` or `lanczos`.
    interpolation: str
    #: The classes' names.
    labels: Sequence[str]
    #: A file with one class name per line.
    labels_file: Union[str, os.PathLike[str]]
    #: Of a segmentation, the region whose classes are explained: `box:LEFT,TOP,RIGHT,BOTTOM`, `point:X,Y`, `class`, or the file of a mask;
    #: in the photo's pixels, or in the input's where that is an array.
    region: str
    #: Of a detection, the box: `1` (the best), a label, `box:LEFT,TOP,RIGHT,BOTTOM`; with `/class`, `/objectness`, `/left`, `/similar` … that of it.
    detection: str
    #: The cosine to the network's output for this photo, or to the vector in this `.npy`.
    similar_to: Union[str, os.PathLike[str]]
    #: Sums of outputs, as `["mean(density)", "age=0.5*output[0] + output[1]"]`.
    sums: Sequence[str]
    #: `f32`, or `bf16`: factors of products are rounded to 8 bits.
    precision: str


class ExplainOptions(TypedDict, total=False):
    """What methods are told; each reads what concerns it. `docs/methods.md` says more."""

    #: Another gradient under a class activation map; `gradients()` lists them.
    gradient: str
    #: Whose formula is followed where libraries differ: `paper`, `pytorch-grad-cam`, `torchcam`, `polycam`, `eq58`.
    definition: str
    #: Which score of the class: `auto` (what the method's paper explains), `logit`, `probability`, `log-probability`, `logit+log-probability`
    #: or `margin:CLASS`.
    score: str
    #: The layers at which a class activation map is made, by name; several are fused.
    layers: Sequence[str]
    #: Over how many points the gradient is averaged, for methods that draw.
    draws: int
    #: `KxM`: K paths with M draws each; their maps are averaged.
    mini_batches: str
    #: By what a gradient on paths is multiplied at the layer: `activation`, `encoded` or `none`.
    difference: str
    #: How the maps of several layers become one: `maximum`, `mean` or `product`.
    fusion: str
    #: Where a layer has its channels and places: `channels-first`, `channels-last` or `tokens:PREFIX:HxW`.
    layout: str
    #: Perturbation methods try only so many channels, those that vary most.
    mask_channels: int
    #: How much work Hyper Expected Grad-CAM may be: `draft`, `standard` or `full`.
    quality: str
    filter: str
    evidence: str
    modulation: float
    stages: int
    #: The mean of the maps of the input and its mirror image, each at 90, 100 and 110 percent.
    augment: bool
    #: The first principal component of the weighted channels in place of their sum.
    eigen: bool
    #: Stop before all draws are done: `difference:0.001` or `delta:0.01`.
    stop: str
    #: Where on the way from baseline to input expected gradients looks: `uniform`, `linear` or `stratified`.
    alphas: str
    #: The rule that integrates along a path: `left`, `right`, `midpoint`, `trapezoid` or `gauss-legendre`.
    quadrature: str
    #: From which blur blur-integrated-gradients begins, in pixels.
    blur_sigma: float
    #: The share of values that guided-integrated-gradients moves at a time.
    guided_fraction: float
    #: How far guided-integrated-gradients may be from the straight line, as a share of the way.
    guided_distance: float
    #: The width of noise around the input, as a share of its range.
    noise: float
    #: Whether the maps that Hyper Expected Grad-CAM goes through are kept.
    parts: bool
    #: The seed of everything random.
    seed: int
    #: How many rows go through the network at a time; changes speed and memory, not the result.
    batch: int
    #: Memory that the process may take, as `2GiB`: decides how many rows go at a time.
    memory: str
