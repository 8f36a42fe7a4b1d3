"""Maps for Quantus: its metrics call a function that explains.

metric(model=model, x_batch=x, y_batch=y, a_batch=None, explain_func=explain_func(net, method="expected-grad-cam"))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ._inputs import Array
from .network import Baselines, Network

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import ExplainOptions

__all__ = ["explain_func"]


def explain_func(
    network: Network, *, method: str = "expected-grad-cam", baselines: Baselines = None, **options: Unpack[ExplainOptions]
) -> Callable[..., Array]:
    """A function `(model, inputs, targets, **_)` that gives maps `(N, 1, H, W)` at the inputs' size, as Quantus's `explain_func`.

    `network` explains; the model that Quantus hands over should be the same network, as `from_torch` makes it.
    """

    def explain(model: object, inputs: Any, targets: Any, **_: object) -> Array:
        classes = None if targets is None else [int(target) for target in np.asarray(targets)]
        found = network.explain(inputs, classes, method=method, baselines=baselines, **options)
        return found.resized()[:, None]

    return explain
