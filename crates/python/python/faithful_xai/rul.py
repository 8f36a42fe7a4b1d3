"""Remaining useful life of machines, from a DataFrame with a row per machine and cycle.

    model = rul.train(frame, columns={"to_failure": True})
    model.predict(frame)
    model.explain(frame, method="expected-gradients").maps        # (machines, sensors, window)

A frame is of pandas or polars, a dictionary of columns, or the path of a CSV or Parquet file. It has the columns `unit` and `cycle`; `rul`
where the remaining life is known, `fault` where its cause is. What else there is are sensors, and operational settings where a name begins with
`setting`.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, TypedDict, Union

import numpy as np

from . import _native
from ._inputs import Array
from ._progress import Progress, shown
from .errors import ArgumentTypeError, ShapeError
from .network import _plain_lists

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["RulExplanation", "RulModel", "RulPrediction", "load", "train"]

_Path = Union[str, "os.PathLike[str]"]


class ColumnOptions(TypedDict, total=False):
    """Which columns of a table are what, by their names."""

    unit: str
    cycle: str
    rul: str
    fault: str
    settings: Sequence[str]
    #: All columns that are nothing else unless said.
    sensors: Sequence[str]
    #: Whether a machine's last row is its last cycle.
    to_failure: bool


class TrainOptions(TypedDict, total=False):
    """How a network is trained; `faithful rul train --help` says more."""

    seed: int
    #: How many cycles the network sees.
    window: int
    #: How many of them a machine must have.
    shortest: int
    #: The remaining life in cycles beyond which a machine is as good as new.
    cap: float
    smoothing: float
    #: How many operating conditions there are.
    conditions: int
    #: Whether it reads how many cycles a machine has run, like a sensor called `cycle`; it does not unless told so.
    age: bool
    stride: int
    members: int
    #: The share of machines that is held out.
    validation: float
    refit: bool
    epochs: int
    batch: int


class RulExplainOptions(TypedDict, total=False):
    """What the methods are told."""

    gradient: str
    draws: int
    stop: str
    layer: str
    #: `healthy` (the default), `healthy-mean`, `typical` or `zero`.
    baselines: str
    #: `wear`: what shortens the life is positive; or `life`.
    score: str
    seed: int


@dataclass(frozen=True)
class RulPrediction:
    """Per machine: its name, the cycle of its last reading, the `predicted` remaining life in cycles, and the true one (NaN where it is not known)."""

    units: list[str]
    cycles: list[int]
    predicted: Array
    remaining: Array


@dataclass(frozen=True)
class RulExplanation:
    """Per machine the map of its last window: `(N, sensors, window)`, or `(N, window)` of methods that do not tell sensors apart."""

    method: str
    units: list[str]
    sensors: list[str]
    maps: Array
    scores: list[float]

    def drivers(self) -> list[dict[str, float]]:
        """Per machine what each sensor contributed over the window, the greatest first."""
        if self.maps.ndim != 3:
            raise ShapeError(f"`{self.method}` does not tell sensors apart; an attribution as `expected-gradients` does")
        sums = self.maps.sum(axis=2, dtype=np.float64)
        return [{self.sensors[place]: float(row[place]) for place in np.argsort(-row, kind="stable")} for row in sums]


class RulModel:
    """A network of the remaining life, with its preparation of readings."""

    def __init__(self, native: _native.RulNetwork) -> None:
        self._native = native

    @property
    def kind(self) -> str:
        """`cnn-lstm` or `cnn-bilstm`."""
        return self._native.kind

    @property
    def sensors(self) -> list[str]:
        """The sensors that it reads."""
        return self._native.sensors

    @property
    def window(self) -> int:
        """How many cycles it sees."""
        return self._native.window

    @property
    def cap(self) -> float:
        """The longest life that it predicts, in cycles."""
        return self._native.cap

    @property
    def validation(self) -> Optional[float]:
        """The root of its mean squared error on held-out machines, in cycles."""
        return self._native.validation

    def save(self, path: _Path) -> None:
        """Writes the weights as safetensors, and the JSON beside them; `rul.load` and `faithful rul` read both."""
        self._native.save(os.fspath(path))

    def predict(self, table: Any, **columns: Unpack[ColumnOptions]) -> RulPrediction:
        """What remains of each machine after its last reading."""
        with _file(table) as path:
            units, cycles, predicted, remaining = self._native.predict(path, _plain_lists(dict(columns)))
        known = np.array([np.nan if one is None else one for one in remaining], np.float32)
        return RulPrediction(units, cycles, np.asarray(predicted, np.float32), known)

    def explain(
        self,
        table: Any,
        *,
        method: str = "expected-gradients",
        columns: Optional[ColumnOptions] = None,
        progress: Progress = False,
        **options: Unpack[RulExplainOptions],
    ) -> RulExplanation:
        """Which readings of each machine's last window drive its prediction."""
        names = _plain_lists(dict(columns or {}))
        with _file(table) as path, shown(progress, method) as heard:
            units = self._native.predict(path, names)[0]
            maps, scores = self._native.explain(path, names, method, dict(options), heard)
        return RulExplanation(method, units, self.sensors, maps, scores)


def load(path: Optional[_Path] = None) -> RulModel:
    """The network in a safetensors file that `save` or `faithful rul train` wrote; without one, that of drawn pumps, which is built in."""
    return RulModel(_native.RulNetwork.open(None if path is None else os.fspath(path)))


def train(
    table: Any,
    *,
    kind: str = "cnn-bilstm",
    columns: Optional[ColumnOptions] = None,
    progress: Progress = False,
    **options: Unpack[TrainOptions],
) -> RulModel:
    """Trains a network on machines that ran to failure (`columns={"to_failure": True}`) or whose `rul` is known."""
    with _file(table) as path, shown(progress, "train") as heard:
        return RulModel(_native.RulNetwork.train(path, _plain_lists(dict(columns or {})), kind, dict(options), heard))


@contextmanager
def _file(table: Any) -> Iterator[str]:
    """The table as a file."""
    if isinstance(table, (str, os.PathLike)):
        yield os.fspath(table)
        return
    with tempfile.TemporaryDirectory(prefix="faithful-") as folder:
        path = os.path.join(folder, "table.csv")
        if hasattr(table, "to_csv"):
            table.to_csv(path, index=False)
        elif hasattr(table, "write_csv"):
            table.write_csv(path)
        elif isinstance(table, Mapping):
            _write(path, table)
        else:
            raise ArgumentTypeError(f"table: expected a DataFrame, a dictionary of columns or a file, got {type(table).__name__}")
        yield path


def _write(path: str, table: Mapping[str, Any]) -> None:
    columns = [list(column) for column in table.values()]
    if len({len(column) for column in columns}) != 1:
        raise ShapeError(f"table: its columns have lengths {[len(column) for column in columns]}")
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*columns))
