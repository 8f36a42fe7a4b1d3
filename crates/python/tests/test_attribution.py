"""Attributions as Captum's users call them."""

from __future__ import annotations

import numpy as np
import pytest

import faithful_xai as fx
from faithful_xai import errors


def test_integrated_gradients_add_up(net, inputs):
    ig = fx.IntegratedGradients(net)
    values, delta = ig.attribute(inputs, baselines=0, target=1, n_steps=20, return_convergence_delta=True)
    assert values.shape == inputs.shape and values.dtype == np.float32 and delta.shape == (len(inputs),)
    outputs = net.predict(inputs).outputs[:, 1] - net.predict(np.zeros_like(inputs)).outputs[:, 1]
    np.testing.assert_allclose(delta, values.sum(axis=(1, 2, 3)) - outputs, atol=1e-3)
    scale = np.abs(outputs).max()
    assert np.abs(ig.attribute(inputs, target=1, n_steps=100).sum(axis=(1, 2, 3)) - outputs).max() < 0.05 * max(scale, 1)


def test_each_input_has_its_own_baseline(net, inputs):
    ig = fx.IntegratedGradients(net)
    baselines = inputs[::-1].copy()
    together = ig.attribute(inputs, baselines=baselines, target=0, n_steps=4)
    for place in range(len(inputs)):
        alone = ig.attribute(inputs[place], baselines=baselines[place], target=0, n_steps=4)
        np.testing.assert_array_equal(together[place], alone[0])
    with pytest.raises(errors.ShapeError, match="2 for 3"):
        ig.attribute(inputs, baselines=baselines[:2], target=0)


@pytest.mark.parametrize("rule", ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"])
def test_every_rule_integrates(net, inputs, rule):
    values = fx.IntegratedGradients(net).attribute(inputs[:1], target=0, n_steps=4, method=rule)
    assert np.isfinite(values).all()


def test_plain_methods(net, inputs):
    gradient = fx.Saliency(net).attribute(inputs, target=3, abs=False)
    np.testing.assert_array_equal(np.abs(gradient), fx.Saliency(net).attribute(inputs, target=3))
    np.testing.assert_allclose(fx.InputXGradient(net).attribute(inputs, target=3), gradient * inputs, rtol=1e-5, atol=1e-7)
    for method in (fx.GuidedBackprop, fx.Deconvolution, fx.LRP):
        assert method(net).attribute(inputs[:1], target=0).shape == inputs[:1].shape
    values, delta = fx.DeepLift(net).attribute(inputs[:1], target=0, return_convergence_delta=True)
    assert np.abs(delta).max() < 1e-2 * max(1, np.abs(values).sum())


def test_draws_are_the_seed_s(net, inputs):
    shap = fx.GradientShap(net)
    first = shap.attribute(inputs, baselines=inputs, n_samples=4, target=0)
    np.testing.assert_array_equal(shap.attribute(inputs, baselines=inputs, n_samples=4, target=0), first)
    assert np.abs(shap.attribute(inputs, baselines=inputs, n_samples=4, target=0, seed=1) - first).max() > 0
    with pytest.raises(errors.ParameterError, match="stdevs"):
        shap.attribute(inputs, stdevs=0.1)


def test_layers(net, inputs):
    shape = next(layer.shape for layer in net.layers if layer.is_target)
    for method in (fx.LayerGradientXActivation, fx.LayerIntegratedGradients):
        assert method(net, net.target_layer).attribute(inputs, target=0).shape == (len(inputs), *shape)


def test_the_class_may_be_left_out(net, inputs):
    best = net.predict(inputs).outputs.argmax(axis=1)
    np.testing.assert_array_equal(fx.Saliency(net).attribute(inputs), fx.Saliency(net).attribute(inputs, target=list(best)))


def test_what_is_refused(net, inputs):
    with pytest.raises(errors.UnknownNameError, match="riemann_left"):
        fx.IntegratedGradients(net).attribute(inputs, target=0, method="simpson")
    with pytest.raises(errors.ParameterError, match="draws: 0"):
        fx.IntegratedGradients(net).attribute(inputs, target=0, n_steps=0)
    with pytest.raises(errors.ParameterError, match="gradient methods"):
        net.attribute(inputs, method="grad-cam")
    with pytest.raises(errors.ParameterError, match="zero input"):
        fx.DeepLift(net).attribute(inputs, baselines=inputs)
