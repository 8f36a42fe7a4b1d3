"""From what people have (files, pictures, arrays, tensors) to what the network takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from . import _native
from .errors import ArgumentTypeError, NotFiniteError, ShapeError

if TYPE_CHECKING:
    from typing_extensions import Self

Array: TypeAlias = npt.NDArray[np.float32]
Bytes: TypeAlias = npt.NDArray[np.uint8]
#: A file, a PIL image, an array or a tensor (anything with DLPack or `__array__`), or a sequence of such.
Input: TypeAlias = Union[str, "os.PathLike[str]", npt.ArrayLike, Sequence[Any], Any]

#: The key of an input's draws; and, of a photo, its width and height, with left, top, width and height of what the input shows.
Origin: TypeAlias = tuple[str, Union[tuple[tuple[int, int], tuple[float, float, float, float]], None]]

MEGAPIXELS = 150.0
_CPU = 1


@dataclass(frozen=True)
class Photo:
    """A photo beside what the network sees of it.

    `picture` is `(H, W, 3)` bytes; `region` is left, top, width and height in its pixels of the part that the network's input shows.
    """

    picture: Bytes
    region: tuple[float, float, float, float]


@dataclass(frozen=True)
class Inputs:
    """What the network takes, `(N, C, H, W)`; `names` key the random draws of each row."""

    values: Array
    photos: tuple[Photo | None, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def origins(self, names: Sequence[str] | None = None) -> list[Origin]:
        """What the library is told of each input beside its values."""
        places = [None if photo is None else ((photo.picture.shape[1], photo.picture.shape[0]), photo.region) for photo in self.photos]
        return list(zip(self.names if names is None else names, places))

    @classmethod
    def stack(cls, parts: Sequence[Self]) -> Self:
        shapes = {part.values.shape[1:] for part in parts}
        if len(shapes) != 1:
            raise ShapeError(f"the inputs of a batch are of one size, and these are {sorted(shapes)}")
        return cls(
            np.concatenate([part.values for part in parts]),
            tuple(photo for part in parts for photo in part.photos),
            tuple(name for part in parts for name in part.names),
        )


def prepare(network: _native.Network, given: Any) -> Inputs:
    """The network's input of anything that is one or several."""
    if isinstance(given, Inputs):
        return given
    if isinstance(given, (str, os.PathLike)):
        values, picture, region = network.prepare_file(os.fspath(given), MEGAPIXELS)
        return Inputs(values, (Photo(picture, region),), (os.path.basename(os.fspath(given)),))
    if is_picture(given):
        return _picture(network, np.asarray(given.convert("RGB"), dtype=np.uint8))
    if isinstance(given, (list, tuple)):
        if not given:
            raise ShapeError("there is no input: the list is empty")
        return Inputs.stack([prepare(network, one) for one in given])
    array = to_array("the input", given)
    if array.dtype == np.uint8:
        return _pictures(network, array)
    return of_values(floats("the input", array), len(network.input_shape))


def is_picture(given: object) -> bool:
    """Whether it is an image of PIL."""
    return hasattr(given, "convert") and hasattr(given, "getbands")


def of_values(values: Array, axes: int) -> Inputs:
    """Rows that are the network's input already, of so many axes each; one row may come without its batch axis."""
    if values.ndim == axes:
        values = values[None]
    if values.ndim != axes + 1:
        wanted = {3: "(N, C, H, W) or (C, H, W)", 4: "(N, C, slices, H, W) or (C, slices, H, W)"}.get(
            axes, f"(N, …) with {axes} axes behind N"
        )
        raise ShapeError(f"the input: expected shape {wanted}, got {list(values.shape)}")
    count = len(values)
    return Inputs(values, (None,) * count, ("input",) * count)


def _picture(network: _native.Network, pixels: Bytes) -> Inputs:
    values, picture, region = network.prepare_picture(np.ascontiguousarray(pixels))
    return Inputs(values, (Photo(picture, region),), ("input",))


def _pictures(network: _native.Network, pixels: npt.NDArray[Any]) -> Inputs:
    if pixels.ndim == 2:
        pixels = np.stack([pixels] * 3, axis=-1)
    if pixels.ndim == 3:
        pixels = pixels[None]
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3) or len(pixels) == 0:
        raise ShapeError(
            "pictures of uint8: expected shape (H, W, 3) or (N, H, W, 3), "
            f"got {list(pixels.shape)}; the network's own input is float, (N, C, H, W)"
        )
    return Inputs.stack([_picture(network, np.broadcast_to(one, (*one.shape[:2], 3))) for one in pixels])


def to_array(what: str, given: Any) -> npt.NDArray[Any]:
    """The array of anything that has one, without a copy where its memory can be shared."""
    if isinstance(given, np.ndarray):
        return given
    if hasattr(given, "__dlpack__") and hasattr(given, "__dlpack_device__"):
        if getattr(given, "requires_grad", False):
            given = given.detach()
        if given.__dlpack_device__()[0] != _CPU:
            raise ArgumentTypeError(f"{what}: the tensor is on another device; pass it from the CPU, as `tensor.cpu()`")
        try:
            return np.from_dlpack(given)
        except (BufferError, RuntimeError, TypeError) as error:
            raise ArgumentTypeError(f"{what}: numpy cannot take this tensor ({error}); pass float32") from error
    try:
        return np.asarray(given)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(f"{what}: {type(given).__name__} is no array ({error})") from error


def floats(what: str, array: npt.NDArray[Any]) -> Array:
    """The values as `float32` in C order; anything but finite floats is refused."""
    if array.dtype.kind != "f":
        raise ArgumentTypeError(
            f"{what}: expected float (the network's input) or uint8 (photos), got {array.dtype}; "
            "whole numbers have no meaning as a network's input, convert them as the network was trained"
        )
    with np.errstate(over="ignore"):
        values = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(values).all():
        place = tuple(int(axis[0]) for axis in np.nonzero(~np.isfinite(values)))
        raise NotFiniteError(f"{what} has values that are not finite, first at {place}")
    return values
