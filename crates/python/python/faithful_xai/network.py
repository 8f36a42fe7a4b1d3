"""Networks: loading, predicting, explaining."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
import numpy.typing as npt

from . import _native
from ._inputs import Array, Bytes, Input, Inputs, Origin, Photo, floats, is_picture, prepare, to_array
from ._progress import Progress, shown
from .errors import ArgumentTypeError, ShapeError
from .explanation import Convergence, Explanation, gallery
from .targets import Targets, aims

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ._options import ExplainOptions, LoadOptions

__all__ = ["Attribution", "Detection", "Layer", "Network", "Prediction", "load"]

#: What inputs are compared with: a name as `blur:20`, a folder of photos, or baselines `(B, C, H, W)` as `prepare` takes them.
Baselines = Union[None, str, "os.PathLike[str]", npt.ArrayLike, Sequence[Any], Any]


def load(
    source: Union[None, str, os.PathLike[str]] = None,
    weights: Union[None, str, os.PathLike[str]] = None,
    **options: Unpack[LoadOptions],
) -> Network:
    """Loads a network.

    - `load("net.onnx")`: any ONNX file, with the JSON beside it, if there is one.
    - `load("resnet50", "weights.safetensors")`: weights for one of torchvision's architectures.
    - `load("vgg16")`: a model that `faithful model pull vgg16` fetched; `models()` lists them.
    - `load()`: the small model of drawn scenes that is built in.

    The options say of photos and classes what the files do not; see `LoadOptions`. `input_size` is for files that leave it free.
    `region`, `detection`, `similar_to` and `sums` say what is read off the outputs in place of classes: everything that the network
    then predicts, explains and measures is of that.

    Raises `FileError`, `FormatError`, `UnsupportedError` (operations that are not implemented), `UnknownNameError` and `ParameterError`.
    """
    name = None if source is None else os.fspath(source)
    if weights is not None:
        if name is None:
            raise ArgumentTypeError("weights need the name of their architecture, as load('resnet50', 'weights.safetensors')")
        name = f"{name}:{os.fspath(weights)}"
    return Network(_native.Network.open(name, _plain(options)))


@dataclass(frozen=True)
class Layer:
    """A layer: its output's `shape` for one input, and per axis how much of the input one cell stands for (`stride`)."""

    name: str
    kind: str
    shape: tuple[int, ...]
    stride: Optional[tuple[float, ...]]
    is_target: bool


@dataclass(frozen=True)
class Prediction:
    """What a network gives for inputs: `outputs` (logits) and `probabilities`, both `(N, K)`, and what the classes are called."""

    outputs: Array
    probabilities: Array
    labels: list[str]

    def top(self, count: int = 5) -> list[list[tuple[int, str, float]]]:
        """Per input the most probable classes: place, label, probability."""
        order = np.argsort(-self.outputs, axis=1, kind="stable")[:, :count]
        return [[(int(place), self.labels[place], float(row[place])) for place in places] for places, row in zip(order, self.probabilities)]


@dataclass(frozen=True)
class Detection:
    """A box of a detection: its number in the list from 1 on, its class, the class's probability, and left, top, right and bottom.

    The box is in pixels of the photo, or of the input where that is an array.
    """

    number: int
    class_index: int
    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Attribution:
    """A number for each value of the inputs: `values` `(N, C, H, W)`, or a layer's shape; the classes; how the draws went."""

    values: Array
    classes: list[int]
    convergence: list[Optional[Convergence]]
    notes: list[str]


class Network:
    """A network that explains itself. `load` makes one; it is closed by `close()` or at the end of a `with` block.

    Everything runs on threads of its own without Python's lock; calls from several threads take turns. Ctrl-C ends a call at once.
    Inputs are files, PIL images, `uint8` pictures `(H, W, 3)` (these go through the network's own preprocessing), or `float` arrays and
    tensors `(N, C, H, W)` that have been through it; lists of them are batches.
    """

    def __init__(
        self,
        native: _native.Network,
        aliases: Optional[dict[str, str]] = None,
        modules: Optional[dict[int, str]] = None,
        keep: object = None,
    ) -> None:
        self._native = native
        #: The layers that are the parts of a PyTorch module, by the parts' names and identities, for a network that was made of one.
        self._aliases = aliases or {}
        self._modules = modules or {}
        #: What must live as long as the network: the folder of a file that was exported for it.
        self._keep = keep

    # What is known of it

    @property
    def name(self) -> str:
        """How the network is called: its architecture, or its file's name."""
        return self._native.name

    @property
    def labels(self) -> list[str]:
        """What its classes are called, in the order of its outputs."""
        return self._native.labels

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, `(C, H, W)`."""
        return tuple(self._native.input_shape)

    @property
    def target_layer(self) -> Optional[str]:
        """The layer of class activation maps unless another is named: the last with places."""
        return self._native.target_layer

    @property
    def activation(self) -> str:
        """How outputs become probabilities: `softmax` or `sigmoid`."""
        return self._native.activation

    @property
    def notes(self) -> list[str]:
        """What was found or assumed while it was loaded."""
        return self._native.notes

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What photos go through: sizes, order of channels, mean and deviation."""
        return self._native.preprocessing()

    @property
    def layers(self) -> list[Layer]:
        """Every layer, in the order of execution."""
        return [
            Layer(name, kind, tuple(shape), None if stride is None else tuple(stride), target)
            for name, kind, shape, stride, target in self._native.layers()
        ]

    def __repr__(self) -> str:
        if self.closed:
            return "<faithful_xai.Network, closed>"
        shape = "x".join(map(str, self.input_shape))
        return f"<faithful_xai.Network {self.name}: {shape} to {len(self.labels)} classes>"

    # Its life

    @property
    def closed(self) -> bool:
        """Whether the weights were let go of."""
        return self._native.closed

    def close(self) -> None:
        """Lets go of the weights; any later call raises `ClosedError`."""
        self._native.close()
        self._keep = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise ArgumentTypeError("a network lives in its process and cannot be pickled or copied; load it again in each worker process")

    # Inputs

    def prepare(self, input: Input) -> Array:
        """What the network sees of photos: `(N, C, H, W)`, float32, standardised. Arrays of floats pass through."""
        return self._prepare(input).values

    def _prepare(self, input: Input) -> Inputs:
        return prepare(self._native, input)

    # What it gives

    def predict(self, input: Input, *, batch: Optional[int] = None, progress: Progress = False) -> Prediction:
        """Outputs and probabilities `(N, K)` of the inputs. Does not depend on `batch`, the rows that go through at a time."""
        inputs = self._prepare(input)
        with shown(progress, "predict") as heard:
            outputs, probabilities = self._native.predict(inputs.values, inputs.origins(), batch, heard)
        return Prediction(outputs, probabilities, self.labels)

    def detections(self, input: Input) -> list[list[Detection]]:
        """The boxes that a detection network finds in each input, the best first."""
        inputs, labels = self._prepare(input), self.labels
        found = self._native.detections(inputs.values, inputs.origins())
        return [
            [Detection(number, place, labels[place], score, box) for number, (place, score, box) in enumerate(boxes, 1)]
            for boxes in found
        ]

    def areas(self, input: Input) -> Array:
        """The share of each input's area that a segmentation network gives each class, `(N, K)`."""
        inputs = self._prepare(input)
        return np.asarray(self._native.areas(inputs.values, inputs.origins()), np.float32)

    def activations(self, input: Input, layer: object = None, *, batch: Optional[int] = None) -> Array:
        """What a layer gives for the inputs, `(N, …)`: by name, or the module of `from_torch`; by default the target layer."""
        return self._native.activations(self._prepare(input).values, self.layer_name(layer), batch)

    def explain(
        self,
        input: Input,
        targets: Targets = None,
        *,
        method: str = "expected-grad-cam",
        baselines: Baselines = None,
        names: Optional[Sequence[str]] = None,
        progress: Progress = False,
        **options: Unpack[ExplainOptions],
    ) -> Explanation:
        """Explains what the network gives for each input by one of `methods()`.

        `targets` are classes by place or label, one for all or one per input; by default the class whose output is highest. `names`
        key the random draws: by default a file's name, so that a photo has the same map wherever it lies and in whatever batch. The
        options are those of `faithful explain`; see `ExplainOptions`.

        Gives raw maps `(N, h, w)`. Raises `UnknownNameError`, `UnknownLayerError`, `ParameterError`, `ShapeError`, `NotFiniteError`.
        """
        inputs = self._prepare(input)
        given = dict(options)
        array = self._baselines(baselines, given)
        with shown(progress, method) as heard:
            found = _native.explain(
                self._native,
                inputs.values,
                aims(self._native, targets, len(inputs)),
                self._origins(inputs, names),
                method,
                self._layers(given),
                array,
                False,
                heard,
            )
        return self._explanation(method, inputs, found)

    def attribute(
        self,
        input: Input,
        targets: Targets = None,
        *,
        method: str = "integrated-gradients",
        baselines: Baselines = None,
        paired: bool = False,
        names: Optional[Sequence[str]] = None,
        progress: Progress = False,
        **options: Unpack[ExplainOptions],
    ) -> Attribution:
        """Attributes each input's score to its values, `(N, C, H, W)`, by one of the gradient methods.

        With `layers=[NAME]`, to the values of that layer. `paired` says that `baselines` holds one baseline for each input; otherwise
        they are drawn from it. `saliency` is one number per pixel, `(N, H, W)`.
        """
        inputs = self._prepare(input)
        given = dict(options)
        array = self._baselines(baselines, given)
        if paired and array is not None and len(array) not in (1, len(inputs)):
            raise ShapeError(f"the baselines: {len(array)} for {len(inputs)} inputs; give one for all, or one for each")
        with shown(progress, method) as heard:
            values, classes, settled, notes = _native.attribute(
                self._native,
                inputs.values,
                aims(self._native, targets, len(inputs)),
                self._origins(inputs, names),
                method,
                self._layers(given),
                array,
                paired,
                heard,
            )
        return Attribution(values, classes, [None if one is None else Convergence(**one) for one in settled], notes)

    def compare(
        self,
        input: Input,
        methods: Sequence[str] = ("grad-cam", "expected-grad-cam", "integrated-gradients"),
        targets: Targets = None,
        *,
        progress: Progress = False,
        **options: Unpack[ExplainOptions],
    ) -> Comparison:
        """Several methods' maps of the same inputs, beside each other in a notebook."""
        inputs = self._prepare(input)
        return Comparison([self.explain(inputs, targets, method=one, progress=progress, **options) for one in methods])

    # How arguments become the library's

    def _origins(self, inputs: Inputs, names: Optional[Sequence[str]]) -> list[Origin]:
        given = list(inputs.names if names is None else names)
        if len(given) != len(inputs):
            raise ShapeError(f"names: {len(given)} names for {len(inputs)} inputs")
        return inputs.origins(given)

    def _baselines(self, baselines: Baselines, options: dict[str, object]) -> Optional[Array]:
        """Baselines as values; or, where they are named, among the options."""
        if baselines is None:
            return None
        if isinstance(baselines, (str, os.PathLike)):
            path = os.fspath(baselines)
            if os.path.isfile(path):
                return self._prepare(path).values
            options["baselines"] = path
            return None
        if isinstance(baselines, (list, tuple)) or is_picture(baselines):
            return self._prepare(baselines).values
        array = to_array("the baselines", baselines)
        if array.dtype == np.uint8:
            return self._prepare(array).values
        if array.ndim == 0:
            array = np.full(self.input_shape, array, dtype=np.float32)
        values = floats("the baselines", array)
        return values[None] if values.ndim == len(self.input_shape) else values

    def _layers(self, options: dict[str, object]) -> dict[str, object]:
        """Layers by name: a network that was made of a PyTorch module knows that module's parts too."""
        layers = options.get("layers")
        if layers is None:
            return options
        if isinstance(layers, str) or not isinstance(layers, Sequence):
            raise ArgumentTypeError(f"layers: expected a list of names, as layers=['layer4'], got {layers!r}")
        return {**options, "layers": [self.layer_name(layer) for layer in layers]}

    def layer_name(self, layer: object) -> str:
        """The name of a layer that is named already, or of a module of the PyTorch network that this one was made of."""
        if isinstance(layer, str):
            return self._aliases.get(layer, layer)
        if isinstance(layer, Layer):
            return layer.name
        name = self._modules.get(id(layer))
        if name is None:
            raise ArgumentTypeError(
                f"layers: a layer is named by a text, as 'layer4'; got {type(layer).__name__}. `network.layers` lists them, and "
                "the parts of a PyTorch module are known to the network that `from_torch` makes of it"
            )
        return name

    def _explanation(self, method: str, inputs: Inputs, found: list[dict[str, Any]]) -> Explanation:
        labels, first = self.labels, found[0]
        return Explanation(
            method=method,
            maps=np.stack([one["map"] for one in found]),
            classes=[one["class"] for one in found],
            labels=[labels[one["class"]] for one in found],
            scores=[one["score"] for one in found],
            layer=first["layer"],
            at_layer=first["at_layer"],
            signed=first["signed"],
            percentile=first["percentile"],
            convergence=[None if one["convergence"] is None else Convergence(**one["convergence"]) for one in found],
            completeness=[one["completeness"] for one in found],
            notes=list(dict.fromkeys(note for one in found for note in [*one["heard"], *one["notes"]])),
            photos=[photo or self._seen(values) for photo, values in zip(inputs.photos, inputs.values)],
            parts=[one["parts"] for one in found],
            input_size=inputs.values.shape[2:],
        )

    def _seen(self, values: Array) -> Photo:
        """An input as a picture: standardised values back to colours."""
        about = self.preprocessing
        if values.ndim == 4:
            # The middle slice of a volume.
            values = values[:, values.shape[1] // 2]
        shape = (-1, 1, 1)
        colors = values * np.reshape(np.asarray(about["std"], np.float32), shape) + np.reshape(np.asarray(about["mean"], np.float32), shape)
        colors = colors[:3] if len(colors) >= 3 else np.repeat(colors[:1], 3, axis=0)
        if about["channels"] == "bgr":
            colors = colors[::-1]
        picture: Bytes = np.ascontiguousarray((np.clip(colors, 0, 1) * 255).round().astype(np.uint8).transpose(1, 2, 0))
        return Photo(picture, (0.0, 0.0, float(picture.shape[1]), float(picture.shape[0])))


@dataclass(frozen=True)
class Comparison:
    """Several methods' explanations of the same inputs; a notebook shows them beside each other."""

    explanations: list[Explanation]

    def _repr_html_(self) -> str:
        count = len(self.explanations[0]) if self.explanations else 0
        rows = [
            gallery([(f"{one.method}: {one.labels[place]}", one.overlay(place)) for one in self.explanations]) for place in range(count)
        ]
        return "".join(rows)


def _plain(options: LoadOptions) -> dict[str, object]:
    """Options as the library reads them."""
    plain = _plain_lists(dict(options))
    for name in ("mean", "std", "labels"):
        if isinstance(plain.get(name), str):
            raise ArgumentTypeError(f"{name}: expected a list, got a text")
    return plain


def _plain_lists(options: dict[str, object]) -> dict[str, object]:
    """Sequences of any kind as lists."""
    return {
        name: list(value) if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, (str, bytes, tuple)) else value
        for name, value in options.items()
    }
