"""Maps on pictures, as pytorch-grad-cam's users draw them."""

from __future__ import annotations

from typing import Union

import numpy as np
import numpy.typing as npt

from . import _native
from ._inputs import Array, Bytes
from .errors import ParameterError, ShapeError

__all__ = ["show_cam_on_image"]

#: OpenCV's number for the colour map that is pytorch-grad-cam's default.
COLORMAP_JET = 2


def show_cam_on_image(
    img: npt.NDArray[np.floating],
    mask: Array,
    use_rgb: bool = False,
    colormap: Union[str, int] = "jet",
    image_weight: float = 0.5,
) -> Bytes:
    """The map `mask` `(H, W)` on the picture `img` `(H, W, 3)`, both from 0 to 1: `image_weight` of the picture, the rest of the colours.

    Gives `(H, W, 3)` bytes. As pytorch-grad-cam's function of that name: the heat map is in the order blue, green, red unless `use_rgb`, and
    the result is scaled so that its highest value is 255. `colormap` is `jet`, or one of `viridis`, `inferno`, `cividis`, `grey` and `diverging`.
    """
    img = np.asarray(img)
    mask = np.asarray(mask)
    if img.ndim != 3 or img.shape[2] != 3 or mask.shape != img.shape[:2]:
        raise ShapeError(f"expected a picture (H, W, 3) and a map (H, W), got {list(img.shape)} and {list(mask.shape)}")
    if img.dtype.kind != "f" or not (img.min() >= 0 and img.max() <= 1):
        raise ParameterError("img: expected floats from 0 to 1; divide bytes by 255")
    if not (mask.min() >= 0 and mask.max() <= 1):
        raise ParameterError("mask: expected values from 0 to 1; raw maps are scaled by `scale_cam_image`")
    if not 0 <= image_weight <= 1:
        raise ParameterError(f"image_weight: {image_weight} is not from 0 to 1")
    colors = _jet() if colormap in ("jet", COLORMAP_JET) else _native.colors(str(colormap))
    heat = colors[(255 * mask).astype(np.uint8)]
    if not use_rgb:
        heat = heat[..., ::-1]
    blended = (1 - image_weight) * (heat.astype(np.float32) / 255) + image_weight * img
    drawn: Bytes = (255 * (blended / blended.max())).astype(np.uint8)
    return drawn


def _jet() -> Bytes:
    """Blue over cyan, yellow and red, in straight lines: red, green and blue of 256 values."""
    place = np.arange(256) / 255
    channels = [np.clip(1.5 - np.abs(4 * place - peak), 0, 1) for peak in (3, 2, 1)]
    return np.stack([(255 * channel).round().astype(np.uint8) for channel in channels], axis=-1)
