"""Class activation maps and masking methods, called as pytorch-grad-cam's are.

    with ExpectedGradCAM(net, target_layers=["layer4"]) as cam:
        maps = cam(input, targets=[281, None])

A call gives maps `(N, H, W)` at the input's size, from 0 to 1 in each map, as `show_cam_on_image` takes them. `raw=True` gives the method's
own numbers `(N, h, w)`; `Network.explain` gives more about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Optional

import numpy as np

from . import _native
from ._inputs import Array, Input
from ._progress import Progress
from .errors import ArgumentTypeError
from .network import Baselines, Network
from .targets import Targets

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._options import ExplainOptions


class BaseCAM:
    """A method at the layers `target_layers` (by default the network's own target layer), with its options.

    `definition="pytorch-grad-cam"` follows that library's formula where it differs from the paper's. The maps of several layers are scaled
    and averaged as pytorch-grad-cam does, unless `fusion` says otherwise; methods that join the layers of several stages themselves take
    them together.
    """

    #: The name in the registry.
    method: ClassVar[str]

    def __init__(
        self,
        model: Network,
        target_layers: Optional[Sequence[object]] = None,
        *,
        baselines: Baselines = None,
        **options: Unpack[ExplainOptions],
    ) -> None:
        if not isinstance(model, Network):
            raise ArgumentTypeError(f"model: expected a network of `load` or `from_torch`, got {type(model).__name__}")
        if isinstance(target_layers, str):
            raise ArgumentTypeError(f"target_layers: expected a list, as ['{target_layers}']")
        self.model = model
        self.layers = None if target_layers is None else [model.layer_name(layer) for layer in target_layers]
        self.baselines = baselines
        self.options = options

    def __call__(
        self,
        input_tensor: Input,
        targets: Targets = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
        *,
        raw: bool = False,
        progress: Progress = False,
    ) -> Array:
        """The maps of the inputs: `(N, H, W)` from 0 to 1, or raw `(N, h, w)`.

        `targets` are classes by place or label, or objects with a `category`, one per input; `None` is the class whose output is highest.
        """
        inputs = self.model._prepare(input_tensor)
        options: ExplainOptions = {**self.options}
        if aug_smooth:
            options["augment"] = True
        if eigen_smooth:
            options["eigen"] = True
        apart = self.layers is not None and len(self.layers) > 1 and "fusion" not in options and self.method in _APART
        groups: list[Optional[list[str]]] = [[layer] for layer in self.layers or []] if apart else [self.layers]
        if raw:
            groups = [self.layers]
        found = []
        for layers in groups:
            if layers is not None:
                options["layers"] = layers
            explained = self.model.explain(inputs, targets, method=self.method, baselines=self.baselines, progress=progress, **options)
            if raw:
                return explained.maps
            scaled = scale_cam_image(np.maximum(explained.maps, 0))
            found.append(_native.enlarge(scaled, inputs.values.shape[2:]))
        return scale_cam_image(np.asarray(np.mean(np.stack(found), axis=0, dtype=np.float32)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        """Nothing was hooked into the network, so that there is nothing to undo."""


def scale_cam_image(maps: Array) -> Array:
    """Each map of `(N, h, w)` from 0 to 1, by pytorch-grad-cam's formula; a map that is the same everywhere becomes 0."""
    lowest = maps.min(axis=(1, 2), keepdims=True)
    highest = maps.max(axis=(1, 2), keepdims=True) - lowest
    scaled: Array = ((maps - lowest) / (np.float32(1e-7) + highest)).astype(np.float32, copy=False)
    return scaled


#: The methods whose maps of several layers are made one by one.
_APART = frozenset(one["name"] for one in _native.methods() if one["fuses"])


class CAM(BaseCAM):
    """Channels weighted by the linear layer behind a global average pool (Zhou et al. 2016)."""

    method = "cam"


class GradCAM(BaseCAM):
    """Channels weighted by their mean gradient (Selvaraju et al. 2017)."""

    method = "grad-cam"


class GradCAMPlusPlus(BaseCAM):
    """Positive gradients, weighted so that every occurrence of an object counts alike (Chattopadhay et al. 2018)."""

    method = "grad-cam++"


class SmoothGradCAMPlusPlus(BaseCAM):
    """Grad-CAM++ from the averages of the gradient's powers (Omeiza et al. 2019)."""

    method = "smooth-grad-cam++"


class XGradCAM(BaseCAM):
    """Channels weighted by their gradient where they are active (Fu et al. 2020)."""

    method = "xgrad-cam"


class HiResCAM(BaseCAM):
    """Gradient times activation at each place (Draelos and Carin 2020)."""

    method = "hires-cam"


class LayerCAM(BaseCAM):
    """Positive gradient times activation at each place (Jiang et al. 2021)."""

    method = "layer-cam"


class GradCAMElementWise(BaseCAM):
    """The positive products of gradient and activation at each place (pytorch-grad-cam)."""

    method = "grad-cam-elementwise"


class EigenCAM(BaseCAM):
    """The first principal component of the activation, without regard to a class (Muhammad and Yeasin 2020)."""

    method = "eigen-cam"


class EigenGradCAM(BaseCAM):
    """The first principal component of gradient times activation (pytorch-grad-cam)."""

    method = "eigen-grad-cam"


class ExpectedGradCAM(BaseCAM):
    """Grad-CAM on the expectation of difference times gradient over baselines and paths (Buono and Åkesson 2023)."""

    method = "expected-grad-cam"


class ExpectedGradCAMPlusPlus(BaseCAM):
    """The expectation of difference times the weights of Grad-CAM++ (Buono and Åkesson 2023)."""

    method = "expected-grad-cam++"


class IntegratedGradCAM(BaseCAM):
    """Grad-CAM on the gradient integrated along the path from one baseline (Sattarzadeh et al. 2021)."""

    method = "integrated-grad-cam"


class ExpectedSmoothGradCAM(BaseCAM):
    """Expected Grad-CAM with every point of its paths moved within a neighbourhood (Buono et al. 2024)."""

    method = "expected-smooth-grad-cam"


class GuidedGradCAM(BaseCAM):
    """Grad-CAM times guided backpropagation, at the input's resolution (Selvaraju et al. 2017)."""

    method = "guided-grad-cam"


class GuidedExpectedGradCAM(BaseCAM):
    """Expected Grad-CAM times expected gradients from the same draws (Buono and Åkesson 2023)."""

    method = "guided-expected-grad-cam"


class FullGrad(BaseCAM):
    """The gradient at the input and at every bias of the network (Srinivas and Fleuret 2019)."""

    method = "full-grad"


class LiftCAM(BaseCAM):
    """Channels weighted by what they contribute to the score, by DeepLIFT (Jung and Oh 2021)."""

    method = "lift-cam"


class ShapleyCAM(BaseCAM):
    """Channels weighted by gradient minus half the curvature along the activation (Cai 2025)."""

    method = "shapley-cam"


class FinerCAM(BaseCAM):
    """Grad-CAM of a class's output less those of the classes most like it (Zhang et al. 2025)."""

    method = "finer-cam"


class RefineCAM(BaseCAM):
    """The product of the Grad-CAM++ maps of several layers, coarse to fine (Domeniconi et al. 2026)."""

    method = "refine-cam"


class CAMERAS(BaseCAM):
    """Activations times gradients of the photo in several sizes, at the photo's own resolution (Jalwana et al. 2021)."""

    method = "cameras"


class IteratedIntegratedAttributions(BaseCAM):
    """Activations times gradients along paths through the input and the layer (Barkan et al. 2023)."""

    method = "iterated-integrated"


class HyperExpectedGradCAM(BaseCAM):
    """The evidence of every resolution in one map (Buono and Åkesson 2023)."""

    method = "hyper-expected-grad-cam"


class ScoreCAM(BaseCAM):
    """Channels weighted by the score of the input seen through them (Wang et al. 2020)."""

    method = "score-cam"


class SSCAM(BaseCAM):
    """Score-CAM, averaged over noise on the masks (Naidu and Michael 2020)."""

    method = "ss-cam"


class ISCAM(BaseCAM):
    """Score-CAM, averaged over masks of rising strength (Naidu et al. 2020)."""

    method = "is-cam"


class AblationCAM(BaseCAM):
    """Channels weighted by how much of the score is lost without them (Desai and Ramaswamy 2020)."""

    method = "ablation-cam"


class GroupCAM(BaseCAM):
    """Groups of gradient-weighted channels, weighted by the score of the input seen through them (Zhang et al. 2021)."""

    method = "group-cam"


class ReciproCAM(BaseCAM):
    """The score when the layer is active around one place alone (Byun and Lee 2022)."""

    method = "recipro-cam"


class OptiCAM(BaseCAM):
    """The channels' weights that make the network surest of what their map shows (Zhang et al. 2023)."""

    method = "opti-cam"


class PolyCAMPlus(BaseCAM):
    """Maps of several layers multiplied from coarse to fine, by what channels keep (Englebert et al. 2022)."""

    method = "poly-cam+"


class PolyCAMMinus(BaseCAM):
    """Maps of several layers multiplied from coarse to fine, by what the loss of channels costs (Englebert et al. 2022)."""

    method = "poly-cam-"


class PolyCAM(BaseCAM):
    """Maps of several layers multiplied from coarse to fine, by both (Englebert et al. 2022)."""

    method = "poly-cam±"


class RISE(BaseCAM):
    """The mean of random masks, weighted by the score of the input seen through them (Petsiuk et al. 2018)."""

    method = "rise"


class Occlusion(BaseCAM):
    """How much of the score is lost when a window hides the place (Zeiler and Fergus 2014)."""

    method = "occlusion"


__all__ = [
    "AblationCAM",
    "BaseCAM",
    "CAM",
    "CAMERAS",
    "EigenCAM",
    "EigenGradCAM",
    "ExpectedGradCAM",
    "ExpectedGradCAMPlusPlus",
    "ExpectedSmoothGradCAM",
    "FinerCAM",
    "FullGrad",
    "GradCAM",
    "GradCAMElementWise",
    "GradCAMPlusPlus",
    "GroupCAM",
    "GuidedExpectedGradCAM",
    "GuidedGradCAM",
    "HiResCAM",
    "HyperExpectedGradCAM",
    "ISCAM",
    "IntegratedGradCAM",
    "IteratedIntegratedAttributions",
    "LayerCAM",
    "LiftCAM",
    "Occlusion",
    "OptiCAM",
    "PolyCAM",
    "PolyCAMMinus",
    "PolyCAMPlus",
    "RISE",
    "ReciproCAM",
    "RefineCAM",
    "SSCAM",
    "ScoreCAM",
    "ShapleyCAM",
    "SmoothGradCAMPlusPlus",
    "XGradCAM",
    "scale_cam_image",
]
