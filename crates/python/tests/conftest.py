"""What tests share: the built-in network, a photo with its mask."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
import pytest

import faithful_xai as fx

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCENES = ROOT / "fixtures" / "scenes"


@pytest.fixture(scope="session")
def net() -> fx.Network:
    return fx.load("scenes-vgg")


@pytest.fixture(scope="session")
def photo() -> str:
    return str(SCENES / "dotted-star.png")


@pytest.fixture(scope="session")
def photos() -> list[str]:
    return [str(path) for path in sorted(SCENES.glob("*.png"))[:3]]


@pytest.fixture
def inputs(net: fx.Network, photos: list[str]) -> np.ndarray:
    return net.prepare(photos)


@pytest.fixture
def short_lived() -> Iterator[fx.Network]:
    with fx.load() as network:
        yield network
