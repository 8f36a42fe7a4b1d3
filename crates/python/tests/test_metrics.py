"""Metrics of maps that this package did not make."""

from __future__ import annotations

import numpy as np
import pytest

from faithful_xai import errors, metrics


@pytest.fixture(scope="module")
def maps(net):
    """Smooth maps without meaning."""
    rng = np.random.default_rng(3)
    return rng.random((3, 6, 5)).astype(np.float32)


def test_curves_are_under_their_areas(net, inputs, maps):
    found = metrics.measure(net, inputs, maps, ["insertion", "deletion", "ins-del"], targets=1, steps=8)
    assert found["insertion"].shape == (3,)
    np.testing.assert_allclose(found["ins-del"], found["insertion"] - found["deletion"], atol=1e-9)
    for (share, score), area in zip(found.curves["insertion"], found["insertion"]):
        assert len(share) == 9 and np.trapezoid(score, share) == pytest.approx(area, abs=1e-6)
    both = metrics.curves(net, inputs, maps, targets=1, steps=8)
    np.testing.assert_array_equal(both.insertion[0][1], found.curves["insertion"][0][1])
    np.testing.assert_array_equal(metrics.insertion(net, inputs, maps, targets=1, steps=8), found["insertion"])


def test_protocols(net, inputs, maps):
    values = [metrics.deletion(net, inputs[:1], maps[:1], protocol=name, steps=4) for name in ("thesis", "polycam", "rise", "torchcam")]
    assert len({float(value[0]) for value in values}) > 1
    with pytest.raises(errors.UnknownNameError, match="`polycam`"):
        metrics.deletion(net, inputs, maps, protocol="polycm")


def test_masks_say_where_the_object_is(net, inputs):
    height, width = inputs.shape[2:]
    objects = np.zeros((3, height, width), bool)
    objects[:, 10:20, 10:20] = True
    inside = objects.astype(np.float32)
    assert list(metrics.pointing(net, inputs, inside, objects=objects)) == [1, 1, 1]
    assert list(metrics.pointing(net, inputs, 1 - inside, objects=objects)) == [0, 0, 0]
    np.testing.assert_allclose(metrics.energy(net, inputs, inside, objects=objects), 1)
    np.testing.assert_allclose(metrics.iou(net, inputs, inside, objects=objects), 1)
    with pytest.raises(errors.ParameterError, match="mask"):
        metrics.pointing(net, inputs, inside)
    with pytest.raises(errors.ShapeError, match="masks"):
        metrics.pointing(net, inputs, inside, objects=objects[:, :5])


def test_masked_metrics(net, inputs, maps):
    found = metrics.measure(net, inputs, maps, ["drop", "drop@30", "increase", "gain", "add", "add.logit"])
    np.testing.assert_array_equal(metrics.drop(net, inputs, maps, top=30), found["drop@30"])
    assert set(found["increase"]) <= {0.0, 1.0}


@pytest.mark.parametrize("name", [one.name for one in metrics.available()])
def test_every_metric_measures(net, inputs, maps, name):
    objects = np.zeros((1, *inputs.shape[2:]), bool)
    objects[:, 3:9, 3:9] = True

    def explainer(x, target):
        return np.abs(x[0]).sum(axis=0)

    about = next(one for one in metrics.available() if one.name == name)
    found = metrics.measure(
        net, inputs[:1], maps[:1], [name], objects=objects, explainer=explainer if about.needs_explainer else None, steps=4
    )
    assert np.isfinite(found[name]).all()


def test_maps_of_our_own_and_of_others(net, inputs):
    found = net.explain(inputs, method="grad-cam")
    np.testing.assert_array_equal(metrics.sparseness(net, inputs, found), metrics.sparseness(net, inputs, found.maps.astype(np.float64)))
    torch = pytest.importorskip("torch")
    np.testing.assert_array_equal(metrics.sparseness(net, inputs, torch.from_numpy(found.maps)), metrics.sparseness(net, inputs, found))


def test_what_is_refused(net, inputs, maps):
    with pytest.raises(errors.ShapeError, match="2 maps for 3"):
        metrics.insertion(net, inputs, maps[:2])
    with pytest.raises(errors.NotFiniteError):
        metrics.insertion(net, inputs, np.full_like(maps, np.nan))
    with pytest.raises(errors.UnknownNameError, match="`insertion`"):
        metrics.measure(net, inputs, maps, ["insertoin"])
    with pytest.raises(errors.ParameterError, match="method"):
        metrics.measure(net, inputs, maps, ["max-sensitivity"])

    def broken(x, target):
        raise KeyError("of this test")

    with pytest.raises(errors.FormatError, match="of this test"):
        metrics.measure(net, inputs, maps, ["max-sensitivity"], explainer=broken)

    def inside(x, target):
        return net.explain(x, target, method="grad-cam").maps

    with pytest.raises(errors.FaithfulError, match="cannot make one compute"):
        metrics.measure(net, inputs, maps, ["max-sensitivity"], explainer=inside)


def test_quantus_gets_maps(net, inputs):
    from faithful_xai.quantus import explain_func

    found = explain_func(net, method="grad-cam")(model=None, inputs=inputs, targets=np.array([0, 1, 2]))
    assert found.shape == (3, 1, *inputs.shape[2:])
