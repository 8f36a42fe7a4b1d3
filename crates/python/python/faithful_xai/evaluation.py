"""Evaluation runs: every method and metric on a folder of photos, as Parquet.

    run = evaluate(net, "photos", ["grad-cam", "expected-grad-cam.5x5"], "run", metrics=["insertion", "deletion"])
    run.rows()            # a DataFrame of pandas, where it is installed, else of polars

A run that was interrupted is gone on with by `resume=True`. It is the same run that `faithful evaluate`, `faithful table` and
`faithful report` make and read.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, Union

from . import _native
from ._packages import known
from ._progress import Progress, shown
from .errors import MissingPackageError
from .network import Network, _plain_lists

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Run", "evaluate"]

_Path = Union[str, "os.PathLike[str]"]


class EvaluateOptions(TypedDict, total=False):
    """The options of `faithful evaluate`, by the same names."""

    #: Metrics, `drop@30` masks the highest 30 percent; the thesis's nine unless said.
    metrics: Sequence[str]
    #: Take this many of the images, evenly.
    samples: int
    #: A folder with a mask per photo.
    masks: str
    #: Do only share I of N, as `2/8`.
    shard: str
    layer: str
    score: str
    baselines: str
    draws: int
    stop: str
    seed: int
    batch: int
    memory: str
    max_megapixels: float
    #: `thesis`, `polycam`, `rise` or `torchcam`.
    protocol: str
    steps: int
    insertion_canvas: str
    deletion_canvas: str
    curve_score: str
    relative_curves: bool
    #: Explain the class that a photo's folder or name says instead of the predicted one.
    explain_label: bool
    #: Leave out photos that the network takes for another class.
    only_correct: bool


@dataclass(frozen=True)
class Run:
    """A run's folder, and what the call did: `images` in all, `resumed` of them finished before, `failures` with their reasons."""

    folder: str
    images: int
    resumed: int
    failures: list[str]
    misclassified: int

    def rows(self) -> Any:
        """One row per image, method and metric, as a DataFrame of pandas (with pyarrow), else of polars."""
        files = sorted(glob.glob(os.path.join(self.folder, "**", "*.parquet"), recursive=True))
        pandas, polars = known("pandas"), known("polars")
        if pandas is not None and known("pyarrow") is not None:
            return pandas.concat([pandas.read_parquet(file) for file in files], ignore_index=True)
        if polars is None:
            raise MissingPackageError("rows() needs pandas with pyarrow, or polars")
        return polars.read_parquet(files)

    def table(self) -> Any:
        """The mean of each metric per method, as a DataFrame."""
        rows = self.rows()
        if hasattr(rows, "pivot_table"):
            return rows.pivot_table(index="method", columns="metric", values="value", aggfunc="mean", sort=False)
        return rows.pivot(on="metric", index="method", values="value", aggregate_function="mean")


def evaluate(
    network: Network,
    images: _Path,
    methods: Sequence[str],
    out: _Path,
    *,
    resume: bool = False,
    progress: Progress = False,
    **options: Unpack[EvaluateOptions],
) -> Run:
    """Explains and measures every photo of the folder `images` (or drawn `"scenes"`) by `methods`, into the folder `out`.

    Words after a dot say how: `layer-cam.expected`, `expected-grad-cam.5x5`, `grad-cam++.torchcam`. An image or method that fails is a row
    with its reason. Ctrl-C keeps what is finished.
    """
    with shown(progress, "evaluate") as heard:
        done, resumed, failures, misclassified = _native.evaluate(
            network._native, os.fspath(images), list(methods), os.fspath(out), _plain_lists(dict(options)), resume, heard
        )
    return Run(os.fspath(out), done, resumed, failures, misclassified)
