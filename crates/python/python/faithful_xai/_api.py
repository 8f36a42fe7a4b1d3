"""What there is, and how many threads compute."""

from __future__ import annotations

from dataclasses import dataclass

from . import _native


@dataclass(frozen=True)
class MethodInfo:
    """What is known of a method: its family (`cam`, `perturbation`, `attention`, `gradient`), whether its maps are of a layer's
    places, have a sign, depend on draws (and so on `seed`), and compare with `baselines`."""

    name: str
    summary: str
    source: str
    family: str
    at_layer: bool
    class_agnostic: bool
    signed: bool
    draws: bool
    compares: bool
    fuses: bool


def methods() -> list[MethodInfo]:
    """Every method that `Network.explain` knows."""
    return [MethodInfo(**one) for one in _native.methods()]


def gradients() -> dict[str, str]:
    """The gradients that `gradient=` puts under a class activation map, with a sentence on each."""
    return {name: summary for name, summary, _ in _native.gradients()}


def models() -> dict[str, str]:
    """The models that `load` knows by name: `built in`, `fetched`, or `absent` (its weights are not on this machine)."""
    return dict(_native.models())


def set_threads(threads: int) -> None:
    """How many threads compute from the next call on; 0 for one per core, or `RAYON_NUM_THREADS`."""
    _native.set_threads(threads)


def threads() -> int:
    """How many threads compute."""
    return _native.threads()
