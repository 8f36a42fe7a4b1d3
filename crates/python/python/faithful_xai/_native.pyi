from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__version__: str

_Array = npt.NDArray[np.float32]
_Bytes = npt.NDArray[np.uint8]
_Prepared = tuple[_Array, _Bytes, tuple[float, float, float, float]]
_Placement = tuple[tuple[int, int], tuple[float, float, float, float]]
_Origin = tuple[str, _Placement | None]
_Aim = tuple[int | None, str | None]
_Progress = Callable[[int, int], object] | None
_Measured = tuple[str, float, tuple[list[float], list[float]] | None]

class Network:
    @staticmethod
    def open(source: str | None, options: Mapping[str, object]) -> Network: ...
    def close(self) -> None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def name(self) -> str: ...
    @property
    def file(self) -> str | None: ...
    @property
    def notes(self) -> list[str]: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def input_shape(self) -> list[int]: ...
    @property
    def activation(self) -> str: ...
    @property
    def target_layer(self) -> str | None: ...
    def class_index(self, label: str) -> int: ...
    def layers(self) -> list[tuple[str, str, list[int], list[float] | None, bool]]: ...
    def preprocessing(self) -> dict[str, Any]: ...
    def prepare_file(self, path: str, megapixels: float) -> _Prepared: ...
    def prepare_picture(self, pixels: _Bytes) -> _Prepared: ...
    def predict(
        self,
        input: _Array,
        origins: Sequence[_Origin] | None = None,
        batch: int | None = None,
        progress: _Progress = None,
    ) -> tuple[_Array, _Array]: ...
    def detections(
        self, input: _Array, origins: Sequence[_Origin]
    ) -> list[list[tuple[int, float, tuple[float, float, float, float]]]]: ...
    def areas(self, input: _Array, origins: Sequence[_Origin]) -> list[list[float]]: ...
    def activations(self, input: _Array, layer: str, batch: int | None = None) -> _Array: ...

class RulNetwork:
    @staticmethod
    def open(path: str | None) -> RulNetwork: ...
    @staticmethod
    def train(
        table: str,
        columns: Mapping[str, object],
        kind: str,
        options: Mapping[str, object],
        progress: _Progress = None,
    ) -> RulNetwork: ...
    def save(self, path: str) -> None: ...
    @property
    def kind(self) -> str: ...
    @property
    def sensors(self) -> list[str]: ...
    @property
    def window(self) -> int: ...
    @property
    def cap(self) -> float: ...
    @property
    def validation(self) -> float | None: ...
    def predict(self, table: str, columns: Mapping[str, object]) -> tuple[list[str], list[int], list[float], list[float | None]]: ...
    def explain(
        self,
        table: str,
        columns: Mapping[str, object],
        name: str,
        options: Mapping[str, object],
        progress: _Progress = None,
    ) -> tuple[_Array, list[float]]: ...

def set_threads(threads: int) -> None: ...
def threads() -> int: ...
def methods() -> list[dict[str, Any]]: ...
def gradients() -> list[tuple[str, str, str]]: ...
def metrics() -> list[dict[str, Any]]: ...
def models() -> list[tuple[str, str]]: ...
def colors(name: str) -> _Bytes: ...
def enlarge(maps: _Array, size: Sequence[int]) -> _Array: ...
def normalise(map: _Array, signed: bool, percentile: float) -> _Array: ...
def overlay(
    picture: _Bytes,
    map: _Array,
    region: tuple[float, float, float, float],
    signed: bool,
    percentile: float,
    colormap: str | None = None,
    opacity: float = 0.55,
    legend: bool = False,
) -> _Bytes: ...
def png(picture: _Bytes) -> bytes: ...
def explain(
    network: Network,
    input: _Array,
    targets: Sequence[_Aim],
    origins: Sequence[_Origin],
    name: str,
    options: Mapping[str, object],
    baselines: _Array | None = None,
    paired: bool = False,
    progress: _Progress = None,
) -> list[dict[str, Any]]: ...
def attribute(
    network: Network,
    input: _Array,
    targets: Sequence[_Aim],
    origins: Sequence[_Origin],
    name: str,
    options: Mapping[str, object],
    baselines: _Array | None = None,
    paired: bool = False,
    progress: _Progress = None,
) -> tuple[_Array, list[int], list[dict[str, Any] | None], list[str]]: ...
def measure(
    network: Network,
    input: _Array,
    targets: Sequence[_Aim],
    origins: Sequence[_Origin],
    maps: _Array,
    metrics: Sequence[str],
    options: Mapping[str, object],
    objects: npt.NDArray[np.bool_] | None = None,
    explainer: Callable[[_Array, int], _Array] | None = None,
    progress: _Progress = None,
) -> list[list[_Measured]]: ...
def evaluate(
    network: Network,
    images: str,
    methods: Sequence[str],
    out: str,
    options: Mapping[str, object],
    resume: bool = False,
    progress: _Progress = None,
) -> tuple[int, int, list[str], int]: ...
