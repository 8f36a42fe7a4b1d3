"""What is explained of each input: a class, and which score of it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional, TypeAlias, Union

import numpy as np

from . import _native
from ._inputs import to_array
from .errors import ArgumentTypeError, ParameterError

__all__ = ["ClassifierOutputMarginTarget", "ClassifierOutputSoftmaxTarget", "ClassifierOutputTarget", "Target", "Targets"]


@dataclass(frozen=True)
class ClassifierOutputTarget:
    """The output of class `category`, its logit; as pytorch-grad-cam's class of that name."""

    category: int


@dataclass(frozen=True)
class ClassifierOutputSoftmaxTarget:
    """The probability of class `category`; as pytorch-grad-cam's class of that name."""

    category: int


@dataclass(frozen=True)
class ClassifierOutputMarginTarget:
    """The output of class `category` less that of class `against`: why this and not that."""

    category: int
    against: int


#: A class by its place or its label, an object with a `category`, or `None` for the class whose output is highest.
Target: TypeAlias = Union[None, int, str, ClassifierOutputTarget, ClassifierOutputSoftmaxTarget, ClassifierOutputMarginTarget, Any]
#: One target for all inputs, or one for each.
Targets: TypeAlias = Union[Target, Sequence[Target]]
#: The class and the score as the library has them.
Aim: TypeAlias = tuple[Optional[int], Optional[str]]

#: The targets that are scores here, by the name of their class: one's own, and pytorch-grad-cam's.
_SCORES = {"ClassifierOutputTarget": "logit", "ClassifierOutputSoftmaxTarget": "probability"}


def aims(network: _native.Network, targets: Targets, count: int) -> list[Aim]:
    """What is explained of each of `count` inputs."""
    if isinstance(targets, (list, tuple)) or getattr(targets, "ndim", 0) == 1:
        given = list(targets) if isinstance(targets, (list, tuple)) else list(to_array("targets", targets))
        if len(given) != count:
            raise ParameterError(f"targets: {len(given)} targets for {count} inputs; give one per input, or one for all")
        return [_aim(network, one) for one in given]
    return [_aim(network, targets)] * count


def _aim(network: _native.Network, target: Target) -> Aim:
    if target is None:
        return None, None
    if isinstance(target, str):
        return network.class_index(target), None
    category = getattr(target, "category", None)
    if category is None:
        return _index(network, target), None
    kind = type(target).__name__
    if isinstance(target, ClassifierOutputMarginTarget):
        return _index(network, category), f"margin:{_index(network, target.against)}"
    if kind not in _SCORES:
        raise ArgumentTypeError(
            f"targets: {kind} is not known here; ClassifierOutputTarget, ClassifierOutputSoftmaxTarget and "
            "ClassifierOutputMarginTarget are, or a class by its place or label"
        )
    return _index(network, category), _SCORES[kind]


def _index(network: _native.Network, target: Any) -> int:
    if isinstance(target, (bool, np.bool_)):
        raise ArgumentTypeError(f"targets: {target} is no class")
    try:
        index = operator.index(target)
    except TypeError as error:
        raise ArgumentTypeError(
            f"targets: a class is a place (int) or a label (str), or a target with a category; got {type(target).__name__}"
        ) from error
    outputs = len(network.labels)
    if not 0 <= index < outputs:
        raise ParameterError(f"targets: {index} is outside 0..{outputs}, the network's outputs")
    return index
