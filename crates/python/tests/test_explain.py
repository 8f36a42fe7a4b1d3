"""Every method of the registry, its options, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import faithful_xai as fx
from faithful_xai import errors

#: The smallest work that still is the method.
QUICK = {"draws": 3}


@pytest.mark.parametrize("method", fx.methods(), ids=lambda method: method.name)
def test_every_method_explains(net, photo, method):
    options = {}
    if method.draws or method.family == "perturbation":
        options["draws"] = 4
    if method.family == "perturbation" and method.name not in ("rise", "occlusion"):
        options["mask_channels"] = 4
    if method.name == "hyper-expected-grad-cam":
        options["quality"] = "draft"
    if method.name == "cam":
        # The built-in network has no global average pool; tests/test_peers.py has one.
        with pytest.raises(errors.UnsupportedError, match="global average pool"):
            net.explain(photo, method="cam")
        return
    if method.family == "attention":
        with pytest.raises(errors.UnsupportedError, match="the network has none"):
            net.explain(photo, method=method.name)
        return
    found = net.explain(photo, method=method.name, **options)
    assert found.maps.shape[0] == 1 and found.maps.dtype == np.float32 and np.isfinite(found.maps).all()
    assert found.signed == method.signed and found.classes == [int(net.predict(photo).outputs.argmax())]
    if method.at_layer and method.family == "cam":
        assert found.at_layer and found.layer
    if not found.signed:
        assert (found.maps >= 0).all()


def test_a_result_depends_neither_on_the_batch_nor_on_the_place(net, photos):
    together = net.explain(photos, draws=3, batch=2)
    for place, photo in enumerate(photos):
        alone = net.explain(photo, draws=3)
        np.testing.assert_array_equal(together.maps[place], alone.maps[0])
    again = net.explain(photos[::-1], draws=3, seed=0)
    np.testing.assert_array_equal(again.maps[::-1], together.maps)
    assert np.abs(net.explain(photos, draws=3, seed=1).maps - together.maps).max() > 0


def test_classes_by_place_label_and_target(net, photo):
    place = 2
    maps = [
        net.explain(photo, targets, method="grad-cam").maps
        for targets in (place, net.labels[place], [place], fx.ClassifierOutputTarget(place), np.array([place]))
    ]
    for one in maps[1:]:
        np.testing.assert_array_equal(one, maps[0])
    best = net.explain(photo, method="grad-cam")
    np.testing.assert_array_equal(net.explain(photo, [None], method="grad-cam").maps, best.maps)
    outputs = net.predict(photo)
    assert best.scores[0] == pytest.approx(outputs.outputs.max(), rel=1e-5)
    softmax = net.explain(photo, fx.ClassifierOutputSoftmaxTarget(place), method="grad-cam")
    assert softmax.scores[0] == pytest.approx(outputs.probabilities[0, place], rel=1e-4)
    margin = net.explain(photo, fx.ClassifierOutputMarginTarget(place, 0), method="grad-cam")
    assert margin.scores[0] == pytest.approx(outputs.outputs[0, place] - outputs.outputs[0, 0], rel=1e-4, abs=1e-4)
    assert net.explain(photo, place, method="grad-cam", score="probability").scores == pytest.approx(softmax.scores)


class _Foreign:
    def __init__(self, category):
        self.category = category


@pytest.mark.parametrize(
    ("targets", "error", "text"),
    [
        ([0, 1], errors.ParameterError, "2 targets for 3 inputs"),
        (10_000, errors.ParameterError, "outside 0"),
        (-1, errors.ParameterError, "outside 0"),
        ("no such class", errors.UnknownNameError, "no class"),
        (1.5, errors.ArgumentTypeError, "float"),
        (True, errors.ArgumentTypeError, "no class"),
        (_Foreign(1), errors.ArgumentTypeError, "_Foreign"),
    ],
)
def test_wrong_targets(net, photos, targets, error, text):
    with pytest.raises(error, match=text):
        net.explain(photos, targets, method="grad-cam")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"method": "gradcam"}, errors.UnknownNameError, "`grad-cam`"),
        ({"drwas": 3}, errors.UnknownNameError, "`draws`"),
        ({"draws": 0}, errors.ParameterError, "draws: 0"),
        ({"draws": -5}, errors.ParameterError, "draws: -5"),
        ({"draws": "many"}, errors.ArgumentTypeError, "draws"),
        ({"draws": 3, "mini_batches": "2x2"}, errors.ParameterError, "mini_batches"),
        ({"mini_batches": "2"}, errors.ParameterError, "KxM"),
        ({"layers": ["layer99"]}, errors.UnknownLayerError, "no layer"),
        ({"layers": "features"}, errors.ArgumentTypeError, "list of names"),
        ({"layers": [object()]}, errors.ArgumentTypeError, "named by a text"),
        ({"stop": "soon"}, errors.ParameterError, "difference:0.001"),
        ({"quality": "best", "method": "hyper-expected-grad-cam"}, errors.UnknownNameError, "quality"),
        ({"quality": "draft"}, errors.ParameterError, "hyper-expected-grad-cam"),
        ({"baselines": "blurr"}, errors.UnknownNameError, "`blur`"),
        ({"baselines": np.zeros((2, 5, 8, 8), np.float32)}, errors.ShapeError, "baselines"),
        ({"memory": "much"}, errors.ParameterError, "memory"),
        ({"memory": "1MiB"}, errors.ParameterError, "memory"),
        ({"seed": -1}, errors.ArgumentTypeError, "seed"),
        ({"score": "loss"}, errors.ParameterError, "logit"),
        ({"definition": "torchcam"}, errors.ParameterError, "expected-grad-cam"),
        ({"method": "saliency", "fusion": "mean"}, errors.ParameterError, "fusion"),
        ({"method": "saliency", "gradient": "expected"}, errors.ParameterError, "gradient"),
        ({"names": ["a", "b"]}, errors.ShapeError, "2 names for 1"),
    ],
)
def test_wrong_options(net, photo, options, error, text):
    with pytest.raises(error, match=text):
        net.explain(photo, **options)


def test_baselines_of_ones_own(net, photo, photos):
    drawn = net.explain(photo, baselines=photos, draws=4)
    np.testing.assert_array_equal(net.explain(photo, baselines=net.prepare(photos), draws=4).maps, drawn.maps)
    zero = net.explain(photo, draws=4)
    np.testing.assert_array_equal(net.explain(photo, baselines=0.0, draws=4).maps, zero.maps)
    np.testing.assert_array_equal(net.explain(photo, baselines="zero", draws=4).maps, zero.maps)
    assert np.abs(drawn.maps - zero.maps).max() > 0


def test_what_is_known_beside_the_map(net, photo):
    found = net.explain(photo, draws=6, layers=[net.target_layer])
    assert found.layer == net.target_layer
    settled = found.convergence[0]
    assert settled is not None and settled.draws == 6 and settled.standard_error is not None
    assert found.completeness[0] is not None
    parts = net.explain(photo, method="hyper-expected-grad-cam", quality="draft", draws=3, parts=True).parts[0]
    assert parts and all(plane.ndim == 2 for plane in parts.values())


def test_pictures(net, photo, photos, tmp_path):
    found = net.explain(photo, method="grad-cam")
    assert found.overlay().shape[2] == 3 and found.overlay(legend=True).shape[1] > found.overlay().shape[1]
    found.save(tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    found.save(str(tmp_path / "map.npy"))
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), found.maps[0])
    assert found._repr_png_().startswith(b"\x89PNG") and found._repr_html_() is None
    several = net.explain(photos, method="grad-cam")
    assert several._repr_png_() is None and several._repr_html_().count("<img") == len(photos)
    assert net.compare(photos[:2], ["grad-cam", "saliency"])._repr_html_().count("<img") == 4
    assert found.resized().shape == (1, *net.input_shape[1:])
    shown = found.normalised()
    assert shown.min() >= 0 and shown.max() <= 1
    with pytest.raises(errors.UnknownNameError, match="colour map"):
        found.overlay(colormap="rainbow")
    # An array has no photo: its picture is made from the standardised values.
    assert net.explain(net.prepare(photo), method="grad-cam").overlay().shape == (*net.input_shape[1:], 3)


def test_progress_is_heard(net, photo):
    heard = []
    net.explain(photo, draws=40, progress=lambda done, expected: heard.append((done, expected)))
    assert heard and heard[-1][0] == heard[-1][1] > 0

    def refuse(done, expected):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        net.explain(photo, draws=40, progress=refuse)
    net.explain(photo, draws=3, progress=True)
