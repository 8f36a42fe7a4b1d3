"""Class activation maps as pytorch-grad-cam's users call them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import faithful_xai as fx
from faithful_xai import cam as cams
from faithful_xai import errors


def test_every_method_has_a_class():
    classes = {getattr(cams, name).method for name in cams.__all__ if name not in ("BaseCAM", "scale_cam_image")}
    assert classes == {one.name for one in fx.methods() if one.family in ("cam", "perturbation")}
    assert all(getattr(fx, name) is getattr(cams, name) for name in cams.__all__)


def test_the_context_and_its_call(net, inputs):
    with fx.ExpectedGradCAM(model=net, target_layers=[net.target_layer], draws=3) as cam:
        maps = cam(input_tensor=inputs, targets=[1, None, fx.ClassifierOutputTarget(2)])
    assert maps.shape == (3, *net.input_shape[1:]) and maps.dtype == np.float32
    assert maps.min() >= 0 and maps.max() <= 1
    assert all(one.max() == pytest.approx(1, abs=1e-5) or one.max() == 0 for one in maps)


def test_raw_maps_are_the_method_s(net, inputs):
    cam = fx.GradCAM(net, [net.target_layer])
    np.testing.assert_array_equal(cam(inputs, raw=True), net.explain(inputs, method="grad-cam").maps)


def test_several_layers(net, inputs):
    layers = [layer.name for layer in net.layers if layer.kind == "conv2d"][-2:]
    both = fx.LayerCAM(net, layers)(inputs)
    size = inputs.shape[2:]
    parts = []
    for layer in layers:
        found = net.explain(inputs, method="layer-cam", layers=[layer])
        scaled = dataclasses.replace(found, maps=cams.scale_cam_image(np.maximum(found.maps, 0)))
        parts.append(scaled.resized(size))
    np.testing.assert_allclose(both, cams.scale_cam_image(np.mean(parts, axis=0)), atol=1e-6)
    fused = fx.LayerCAM(net, layers, fusion="maximum")(inputs)
    assert np.abs(fused - both).max() > 0
    joined = fx.PolyCAMPlus(net, layers, mask_channels=3)(inputs[:1])
    assert joined.shape == (1, *net.input_shape[1:])


def test_smoothing(net, inputs):
    cam = fx.GradCAM(net)
    plain = cam(inputs)
    assert np.abs(cam(inputs, aug_smooth=True) - plain).max() > 0
    assert np.abs(cam(inputs, eigen_smooth=True) - plain).max() > 0


def test_what_is_refused(net, inputs):
    with pytest.raises(errors.ArgumentTypeError, match="from_torch"):
        fx.GradCAM(object(), ["layer4"])
    with pytest.raises(errors.ArgumentTypeError, match="list"):
        fx.GradCAM(net, "layer4")
    with pytest.raises(errors.UnknownLayerError):
        fx.GradCAM(net, ["layer99"])(inputs)
    with pytest.raises(errors.ParameterError, match="targets"):
        fx.GradCAM(net)(inputs, targets=[0])


def test_a_map_on_a_picture(net, photo, inputs):
    mask = fx.GradCAM(net)(inputs[:1])[0]
    img = np.random.default_rng(0).random((*mask.shape, 3))
    drawn = fx.show_cam_on_image(img, mask, use_rgb=True)
    assert drawn.dtype == np.uint8 and drawn.shape == img.shape and drawn.max() == 255
    np.testing.assert_array_equal(
        fx.show_cam_on_image(img, mask, use_rgb=True, image_weight=1.0), (255 * (img / img.max())).astype(np.uint8)
    )
    assert fx.show_cam_on_image(img, mask, colormap="viridis").shape == img.shape
    for wrong, error in ((img * 255, errors.ParameterError), (img[:5], errors.ShapeError)):
        with pytest.raises(error):
            fx.show_cam_on_image(wrong, mask)
    with pytest.raises(errors.ParameterError, match="image_weight"):
        fx.show_cam_on_image(img, mask, image_weight=2)
