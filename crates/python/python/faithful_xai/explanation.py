"""What a method found: raw maps with what is known of them, and their pictures."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Optional, Union

import numpy as np

from . import _native
from ._inputs import Array, Bytes, Photo

__all__ = ["Convergence", "Explanation"]


@dataclass(frozen=True)
class Convergence:
    """How the draws of a sampled explanation went.

    `value` is what the stopping rule looked at in the end, `delta` the completeness gap, `standard_error` the map's relative standard
    error; each is `None` where it was not computed.
    """

    draws: int
    satisfied: bool
    value: Optional[float]
    difference: Optional[float]
    delta: Optional[float]
    standard_error: Optional[float]


@dataclass(frozen=True)
class Explanation:
    """The maps of one method, one per input.

    `maps` are raw, `(N, h, w)`: not rescaled, and signed where the method is (`signed`); at a layer's places where `at_layer`, at
    the input's otherwise. `classes` are the classes that were explained, `scores` their scores, `completeness` what a map sums to and what
    it should, `parts` the maps that it went through where `parts=True` asked for them, `notes` what a reader should know.

    As the last value of a notebook's cell it shows the maps on their photos.
    """

    method: str
    maps: Array
    classes: list[int]
    labels: list[str]
    scores: list[float]
    layer: Optional[str]
    at_layer: bool
    signed: bool
    percentile: float
    convergence: list[Optional[Convergence]]
    completeness: list[Optional[tuple[float, float]]]
    notes: list[str]
    photos: list[Photo] = field(repr=False)
    parts: list[dict[str, Array]] = field(repr=False)
    input_size: tuple[int, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.classes)

    def __iter__(self) -> Iterator[Array]:
        return iter(self.maps)

    def __array__(self, dtype: Optional[np.dtype[np.float32]] = None, copy: Optional[bool] = None) -> Array:
        return np.array(self.maps, dtype=dtype) if copy or dtype is not None else self.maps

    def resized(self, size: Optional[tuple[int, int]] = None) -> Array:
        """The raw maps at `size` (height, width), by default the input's: `(N, H, W)`, bilinearly enlarged."""
        wanted = self.input_size if size is None else size
        return self.maps if self.maps.shape[1:] == wanted else _native.enlarge(self.maps, wanted)

    def normalised(self) -> Array:
        """The maps from 0 to 1 as pictures show them, `(N, h, w)`: up to their percentile, and about 0.5 where they are signed."""
        return np.stack([_native.normalise(one, self.signed, self.percentile) for one in self.maps])

    def overlay(self, index: int = 0, *, colormap: Optional[str] = None, opacity: float = 0.55, legend: bool = False) -> Bytes:
        """The map of one input on its photo, `(H, W, 3)` bytes at the photo's own size.

        `colormap` is `viridis`, `inferno`, `cividis`, `grey` or `diverging`; by default viridis, or diverging where the map is signed.
        """
        photo = self.photos[index]
        return _native.overlay(photo.picture, self.maps[index], photo.region, self.signed, self.percentile, colormap, opacity, legend)

    def save(self, path: Union[str, os.PathLike[str]], index: int = 0, **style: object) -> None:
        """Writes `overlay` as a PNG file, or the raw map as `.npy` where the name ends so."""
        path = os.fspath(path)
        if path.endswith(".npy"):
            np.save(path, self.maps[index])
            return
        content = _native.png(self.overlay(index, **style))  # type: ignore[arg-type]
        unfinished = f"{path}.tmp"
        with open(unfinished, "wb") as file:
            file.write(content)
        os.replace(unfinished, path)

    def _repr_png_(self) -> Optional[bytes]:
        return _native.png(self.overlay(0)) if len(self) == 1 else None

    def _repr_html_(self) -> Optional[str]:
        if len(self) == 1:
            return None
        return gallery(
            [(f"{label} ({score:.3g})", self.overlay(place)) for place, (label, score) in enumerate(zip(self.labels, self.scores))]
        )


def gallery(pictures: list[tuple[str, Bytes]]) -> str:
    """Captioned pictures beside each other, as HTML that needs no other file."""
    figures = []
    for caption, picture in pictures:
        source = base64.b64encode(_native.png(picture)).decode("ascii")
        text = html.escape(caption)
        figures.append(
            '<figure style="display:inline-block;margin:0 8px 8px 0;max-width:240px">'
            f'<img style="width:100%" alt="{text}" src="data:image/png;base64,{source}">'
            f'<figcaption style="font-size:smaller">{text}</figcaption></figure>'
        )
    return f"<div>{''.join(figures)}</div>"
