"""Metrics of maps, whoever made them: maps of this package, of Captum, of pytorch-grad-cam, or drawn by hand.

    insertion(net, x, maps, targets=281, protocol="polycam")     # (N,)

Maps are raw, of any scale and sign: `(N, h, w)` of any size (coarser ones are enlarged bilinearly to the input's), or one value per entry
of the input, `(N, C, H, W)`. The metrics that watch a score watch the probability of the target. `available()` lists them all with their
direction, range and source; docs/metrics.md says more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Protocol, TypeAlias, TypedDict, cast

import numpy as np
import numpy.typing as npt

from . import _native
from ._inputs import Array, Input, floats, to_array
from ._progress import Progress, shown
from .errors import ShapeError
from .network import Network
from .targets import Targets, aims

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "Curves",
    "Measured",
    "MetricInfo",
    "add",
    "available",
    "complexity",
    "curves",
    "deletion",
    "drop",
    "energy",
    "gain",
    "increase",
    "infidelity",
    "insertion",
    "iou",
    "measure",
    "pointing",
    "road",
    "sensitivity_n",
    "single_deletion",
    "sparseness",
]

Maps: TypeAlias = Any
#: Makes the raw map of an input `(1, C, H, W)` for a class.
Explainer: TypeAlias = Callable[[Array, int], npt.ArrayLike]
Numbers: TypeAlias = npt.NDArray[np.float64]


class MetricOptions(TypedDict, total=False):
    """How it is measured."""

    #: Insertion and deletion: `thesis`, `polycam`, `rise` or `torchcam`.
    protocol: str
    #: Their steps instead of the protocol's.
    steps: int
    #: What insertion starts from instead: `zero`, `mean`, `grey`, `blur`, `blur:TAPS:SIGMA` or `rise-blur`.
    insertion_canvas: str
    #: What deletion ends in instead.
    deletion_canvas: str
    #: Which number the curves follow: `probability` or `logit`.
    curve_score: str
    #: Divide insertion and deletion by the score of the whole input.
    relative_curves: bool
    #: Which score the other metrics watch: `probability`, `logit`, `log-probability` or `margin:CLASS`.
    score: str
    #: The seed of ROAD's noise, infidelity's blocks and the like.
    seed: int
    #: How many rows go through the network at a time.
    batch: int


@dataclass(frozen=True)
class Measured:
    """What was measured: per metric one value per input, and for `insertion` and `deletion` the curves `(share, score)`."""

    values: dict[str, Numbers]
    curves: dict[str, list[tuple[Numbers, Numbers]]]

    def __getitem__(self, metric: str) -> Numbers:
        return self.values[metric]


@dataclass(frozen=True)
class Curves:
    """The curves under `insertion` and `deletion`, per input: the share of cells that have changed, and the score."""

    insertion: list[tuple[Numbers, Numbers]]
    deletion: list[tuple[Numbers, Numbers]]


def measure(
    network: Network,
    input: Input,
    maps: Maps,
    metrics: Sequence[str] = ("insertion", "deletion"),
    *,
    targets: Targets = None,
    objects: Optional[Any] = None,
    explainer: Optional[Explainer] = None,
    progress: Progress = False,
    **options: Unpack[MetricOptions],
) -> Measured:
    """Measures a map per input by several metrics that share their passes; `drop@30` masks the highest 30 percent.

    `objects` are masks `(N, H, W)` of what should be found, for `pointing`, `energy` and `iou`. `explainer` makes the map of another input, for
    metrics that explain disturbed inputs (`max-sensitivity`, `arcc` …); it may not make a network of this package compute.
    """
    inputs = network._prepare(input)
    values = floats("the maps", _as_floats(to_array("the maps", getattr(maps, "maps", maps))))
    if values.ndim == 2:
        values = values[None]
    if len(values) != len(inputs):
        raise ShapeError(f"the maps: {len(values)} maps for {len(inputs)} inputs")
    flags = None if objects is None else _flags(objects, inputs.values.shape)
    ask = None if explainer is None else _asked(explainer)
    with shown(progress, ", ".join(metrics)) as heard:
        found = _native.measure(
            network._native,
            inputs.values,
            aims(network._native, targets, len(inputs)),
            inputs.origins(),
            values,
            list(metrics),
            cast("dict[str, object]", options),
            flags,
            ask,
            heard,
        )
    numbers = {metric: np.array([row[place][1] for row in found]) for place, metric in enumerate(metrics)}
    courses: dict[str, list[tuple[Numbers, Numbers]]] = {}
    for row in found:
        for name, _, curve in row:
            if curve is not None:
                courses.setdefault(name, []).append((np.asarray(curve[0]), np.asarray(curve[1])))
    return Measured(numbers, courses)


def curves(
    network: Network,
    input: Input,
    maps: Maps,
    *,
    targets: Targets = None,
    progress: Progress = False,
    **options: Unpack[MetricOptions],
) -> Curves:
    """How the score rises and falls as the cells that each map finds important appear and vanish."""
    found = measure(network, input, maps, ("insertion", "deletion"), targets=targets, progress=progress, **options)
    return Curves(found.curves["insertion"], found.curves["deletion"])


class _Metric(Protocol):
    def __call__(
        self,
        network: Network,
        input: Input,
        maps: Maps,
        *,
        targets: Targets = None,
        objects: Optional[Any] = None,
        top: Optional[float] = None,
        progress: Progress = False,
        **options: Unpack[MetricOptions],
    ) -> Numbers: ...


def _metric(name: str, summary: str) -> _Metric:
    def metric(
        network: Network,
        input: Input,
        maps: Maps,
        *,
        targets: Targets = None,
        objects: Optional[Any] = None,
        top: Optional[float] = None,
        progress: Progress = False,
        **options: Unpack[MetricOptions],
    ) -> Numbers:
        asked = name if top is None else f"{name}@{top:g}"
        found = measure(network, input, maps, [asked], targets=targets, objects=objects, progress=progress, **options)
        return found.values[asked]

    metric.__name__ = metric.__qualname__ = name.replace("-", "_")
    metric.__doc__ = f"{summary}\n\n    One value per input, `(N,)`. `top=30` masks the highest 30 percent, where the metric has a mask."
    return metric


insertion = _metric("insertion", "Area under the score as the most important cells appear on a blurred canvas; higher is better.")
deletion = _metric("deletion", "Area under the score as the most important cells are removed; lower is better.")
drop = _metric("drop", "Relative fall of the score when only the masked input is shown; lower is better.")
increase = _metric("increase", "Whether the score rises when only the masked input is shown; higher is better.")
gain = _metric("gain", "Relative rise of the score towards 1 when only the masked input is shown; higher is better.")
add = _metric("add", "Relative fall of the score when the masked input is removed; higher is better.")
road = _metric("road", "Half the difference of ROAD's two curves (Rong et al. 2022); higher is better.")
infidelity = _metric("infidelity", "Error of the best scaled map as a forecast of what removed blocks cost; lower is better.")
sensitivity_n = _metric("sensitivity-n", "Correlation of the map's sums over patches with the score's falls; higher is better.")
single_deletion = _metric("single-deletion", "Rank correlation of 16 patches' sums with the score's falls; higher is better.")
sparseness = _metric("sparseness", "Gini index of the magnitudes; higher is sparser.")
complexity = _metric("complexity", "Entropy of the magnitudes' shares, in nats; lower is simpler.")
energy = _metric("energy", "Share of the positive map inside `objects`; higher is better.")
pointing = _metric("pointing", "Whether a highest cell lies inside `objects`; higher is better.")
iou = _metric("iou", "Intersection over union of `objects` and the map above half its range; higher is better.")


def _as_floats(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Maps may be masks or counts."""
    return array.astype(np.float32) if array.dtype.kind in "biu" else array


def _flags(objects: Any, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    flags = to_array("objects", objects)
    flags = flags[None] if flags.ndim == 2 else flags
    if flags.shape != (shape[0], *shape[2:]):
        raise ShapeError(f"objects: expected masks {[shape[0], *shape[2:]]}, one per input and of its size, got {list(flags.shape)}")
    return np.ascontiguousarray(flags != 0)


def _asked(explainer: Explainer) -> Callable[[Array, int], Array]:
    def ask(input: Array, target: int) -> Array:
        return floats("the explainer's map", to_array("the explainer's map", explainer(input, target)))

    return ask


@dataclass(frozen=True)
class MetricInfo:
    """What is known of a metric: its direction and range, whether `NAME@30` masks the highest 30 percent (`masked`), and whether it needs the
    objects' masks (`needs_mask`) or the method (`needs_explainer`)."""

    name: str
    summary: str
    source: str
    higher_is_better: bool
    range: str
    masked: bool
    needs_mask: bool
    needs_explainer: bool


def available() -> list[MetricInfo]:
    """Every metric that `measure` knows."""
    return [MetricInfo(**one) for one in _native.metrics()]
