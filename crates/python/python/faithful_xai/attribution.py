"""Attributions, called as Captum's are.

    ig = IntegratedGradients(net)
    values, delta = ig.attribute(x, baselines=0, target=281, n_steps=50, return_convergence_delta=True)

Inputs are what `Network.prepare` gives, or anything that it takes. Values have the input's shape, `(N, C, H, W)`, as numpy arrays
(`torch.from_numpy` shares their memory). Captum's `target` may be left out: then it is the class whose output is highest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Union, overload

import numpy as np

from ._inputs import Array, Input, Inputs, of_values
from ._progress import Progress
from .errors import ArgumentTypeError, ParameterError, ShapeError, UnknownNameError
from .network import Baselines, Network
from .targets import Targets

if TYPE_CHECKING:
    from ._options import ExplainOptions

__all__ = [
    "Deconvolution",
    "DeepLift",
    "ExpectedGradients",
    "GradientShap",
    "GuidedBackprop",
    "InputXGradient",
    "IntegratedGradients",
    "LRP",
    "LayerGradCam",
    "LayerGradientXActivation",
    "LayerIntegratedGradients",
    "Saliency",
]

#: Captum's names of the rules that integrate.
_RULES = {
    "gausslegendre": "gauss-legendre",
    "riemann_left": "left",
    "riemann_right": "right",
    "riemann_middle": "midpoint",
    "riemann_trapezoid": "trapezoid",
}
_Layered = Union[None, str, object]


class _Attribution:
    """A method on a network."""

    method: ClassVar[str]

    def __init__(self, model: Network) -> None:
        if not isinstance(model, Network):
            raise ArgumentTypeError(f"model: expected a network of `load` or `from_torch`, got {type(model).__name__}")
        self.model = model

    def _attribute(
        self, inputs: Inputs, target: Targets, baselines: Baselines, progress: Progress, options: ExplainOptions
    ) -> tuple[Array, list[int]]:
        found = self.model.attribute(
            inputs, target, method=self.method, baselines=baselines, paired=baselines is not None, progress=progress, **options
        )
        return found.values, found.classes

    def _delta(self, values: Array, classes: list[int], inputs: Inputs, baselines: Baselines) -> Array:
        """What the attributions sum to, less the difference of the outputs at input and baseline, `(N,)`."""
        rows = np.arange(len(inputs))
        at = self.model.predict(inputs).outputs[rows, classes]
        compared = self.model._baselines(0.0 if baselines is None else baselines, {})
        if compared is None:
            raise ParameterError("return_convergence_delta: the baselines are named, not given; give their values")
        before = self.model.predict(of_values(np.broadcast_to(compared, inputs.values.shape).copy(), inputs.values.ndim - 1)).outputs[
            rows, classes
        ]
        delta: Array = values.reshape(len(inputs), -1).sum(axis=1, dtype=np.float64) - (at.astype(np.float64) - before)
        return delta

    def has_convergence_delta(self) -> bool:
        """Whether the attributions should sum to the difference of the outputs."""
        return False


class _Plain(_Attribution):
    """A method without parameters."""

    def attribute(self, inputs: Input, target: Targets = None, *, progress: Progress = False) -> Array:
        """The attributions of `inputs`, `(N, C, H, W)`, for the output of class `target`."""
        return self._attribute(self.model._prepare(inputs), target, None, progress, {})[0]


class Saliency(_Attribution):
    """The gradient of the output at the input (Simonyan et al. 2013)."""

    method = "gradient"

    def attribute(self, inputs: Input, target: Targets = None, abs: bool = True, *, progress: Progress = False) -> Array:
        """The gradient's magnitude, `(N, C, H, W)`; with its sign unless `abs`."""
        values = self._attribute(self.model._prepare(inputs), target, None, progress, {})[0]
        return np.abs(values) if abs else values


class InputXGradient(_Plain):
    """The gradient times the input (Shrikumar et al. 2016)."""

    method = "gradient-times-input"


class GuidedBackprop(_Plain):
    """The gradient along positive signals only (Springenberg et al. 2015)."""

    method = "guided-backpropagation"


class Deconvolution(_Plain):
    """The output carried back through transposed filters and rectifiers (Zeiler and Fergus 2014)."""

    method = "deconvnet"


class LRP(_Plain):
    """The output divided among the input's values by the epsilon rule (Bach et al. 2015)."""

    method = "lrp-epsilon"


class _WithDelta(_Attribution):
    def has_convergence_delta(self) -> bool:
        return True


class DeepLift(_WithDelta):
    """The input times the quotients of differences from a zero input (Shrikumar et al. 2017, rescale rule)."""

    method = "deep-lift"

    @overload
    def attribute(
        self,
        inputs: Input,
        baselines: None = ...,
        target: Targets = ...,
        *,
        return_convergence_delta: Literal[True],
        progress: Progress = ...,
    ) -> tuple[Array, Array]: ...
    @overload
    def attribute(
        self,
        inputs: Input,
        baselines: None = ...,
        target: Targets = ...,
        *,
        return_convergence_delta: Literal[False] = ...,
        progress: Progress = ...,
    ) -> Array: ...
    def attribute(
        self,
        inputs: Input,
        baselines: None = None,
        target: Targets = None,
        *,
        return_convergence_delta: bool = False,
        progress: Progress = False,
    ) -> Union[Array, tuple[Array, Array]]:
        """The attributions against a zero input, `(N, C, H, W)`; other baselines are not implemented."""
        if baselines is not None:
            raise ParameterError("baselines: DeepLift compares with a zero input here; leave baselines out")
        prepared = self.model._prepare(inputs)
        values, classes = self._attribute(prepared, target, None, progress, {})
        return (values, self._delta(values, classes, prepared, None)) if return_convergence_delta else values


class IntegratedGradients(_WithDelta):
    """The gradient integrated along the straight line from a baseline (Sundararajan et al. 2017)."""

    method = "integrated-gradients"

    def __init__(self, model: Network, multiply_by_inputs: bool = True) -> None:
        super().__init__(model)
        if not multiply_by_inputs:
            raise ParameterError("multiply_by_inputs: integrated gradients are times the difference from the baseline here")

    @overload
    def attribute(
        self,
        inputs: Input,
        baselines: Baselines = ...,
        target: Targets = ...,
        *,
        n_steps: int = ...,
        method: str = ...,
        internal_batch_size: Union[int, None] = ...,
        return_convergence_delta: Literal[True],
        progress: Progress = ...,
    ) -> tuple[Array, Array]: ...
    @overload
    def attribute(
        self,
        inputs: Input,
        baselines: Baselines = ...,
        target: Targets = ...,
        *,
        n_steps: int = ...,
        method: str = ...,
        internal_batch_size: Union[int, None] = ...,
        return_convergence_delta: Literal[False] = ...,
        progress: Progress = ...,
    ) -> Array: ...
    def attribute(
        self,
        inputs: Input,
        baselines: Baselines = None,
        target: Targets = None,
        *,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: Union[int, None] = None,
        return_convergence_delta: bool = False,
        progress: Progress = False,
    ) -> Union[Array, tuple[Array, Array]]:
        """The attributions, `(N, C, H, W)`, in `n_steps` steps by the rule `method`; with the completeness gaps `(N,)` where
        `return_convergence_delta`.

        `baselines` is a number, one baseline `(C, H, W)` or one for each input; zero unless said. `internal_batch_size` changes speed and
        memory, not the result.
        """
        prepared = self.model._prepare(inputs)
        options = _steps(n_steps, method, internal_batch_size)
        values, classes = self._attribute(prepared, target, baselines, progress, options)
        return (values, self._delta(values, classes, prepared, baselines)) if return_convergence_delta else values


class GradientShap(_WithDelta):
    """The expectation of difference times gradient over baselines and places on the way (Lundberg and Lee 2017; Erion et al. 2021).

    Captum's class of that name draws from torch's generator; the draws here are those of `seed`, the same for every batch.
    """

    method = "expected-gradients"

    def attribute(
        self,
        inputs: Input,
        baselines: Baselines = 0.0,
        n_samples: int = 5,
        stdevs: float = 0.0,
        target: Targets = None,
        *,
        seed: int = 0,
        internal_batch_size: Union[int, None] = None,
        progress: Progress = False,
    ) -> Array:
        """The attributions, `(N, C, H, W)`: the mean over `n_samples` draws. `baselines` `(B, C, H, W)` are drawn from; a folder or a name, as
        `blur:20`, does too."""
        if stdevs != 0.0:
            raise ParameterError("stdevs: noise on the input is the method `gaussian-attribution`; leave stdevs at 0")
        options: ExplainOptions = {"draws": n_samples, "seed": seed}
        if internal_batch_size is not None:
            options["batch"] = internal_batch_size
        found = self.model.attribute(inputs, target, method=self.method, baselines=baselines, progress=progress, **options)
        return found.values


class ExpectedGradients(GradientShap):
    """`GradientShap` under the name of Erion et al. 2021."""


class _Layer(_Attribution):
    """A method at a layer: its values have the layer's shape."""

    def __init__(self, model: Network, layer: _Layered) -> None:
        super().__init__(model)
        self.layer = model.layer_name(layer)


class LayerGradientXActivation(_Layer):
    """The gradient times the activation at a layer, each value by itself (Shrikumar et al. 2016)."""

    method = "gradient-times-input"

    def attribute(self, inputs: Input, target: Targets = None, *, progress: Progress = False) -> Array:
        """The attributions, of the layer's shape `(N, C', h, w)`."""
        return self._attribute(self.model._prepare(inputs), target, None, progress, {"layers": [self.layer]})[0]


class LayerGradCam(_Layer):
    """The channels of a layer, weighted by the mean of their gradients over the places, summed (Selvaraju et al. 2017).

    As Captum's, with negative values unless `relu_attributions`; `GradCAM` and `Network.explain` give the paper's, without them.
    """

    method = "gradient"

    def attribute(
        self, inputs: Input, target: Targets = None, relu_attributions: bool = False, *, progress: Progress = False
    ) -> Array:
        """The map at the layer's size, `(N, 1, h, w)`. Layers have their channels first, as in PyTorch's convolutions."""
        prepared = self.model._prepare(inputs)
        gradient = self._attribute(prepared, target, None, progress, {"layers": [self.layer]})[0]
        if gradient.ndim < 3:
            raise ShapeError(f"layer `{self.layer}` has no places: its values are {gradient.shape}; choose one before pooling")
        weights = gradient.mean(axis=tuple(range(2, gradient.ndim)), keepdims=True)
        values: Array = (weights * self.model.activations(prepared.values, self.layer)).sum(axis=1, keepdims=True)
        return np.maximum(values, 0) if relu_attributions else values


class LayerIntegratedGradients(_Layer):
    """Integrated gradients at a layer (Sundararajan et al. 2017): baselines go through the network up to it."""

    method = "integrated-gradients"

    def attribute(
        self,
        inputs: Input,
        baselines: Baselines = None,
        target: Targets = None,
        *,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: Union[int, None] = None,
        progress: Progress = False,
    ) -> Array:
        """The attributions, of the layer's shape `(N, C', h, w)`."""
        options = _steps(n_steps, method, internal_batch_size)
        options["layers"] = [self.layer]
        return self._attribute(self.model._prepare(inputs), target, baselines, progress, options)[0]


def _steps(n_steps: int, method: str, internal_batch_size: Union[int, None]) -> ExplainOptions:
    if method not in _RULES:
        raise UnknownNameError(f"no method `{method}`; there are `{'`, `'.join(_RULES)}`")
    options: ExplainOptions = {"draws": n_steps, "quadrature": _RULES[method]}
    if internal_batch_size is not None:
        options["batch"] = internal_batch_size
    return options
