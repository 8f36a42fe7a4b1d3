"""Loading, inputs, predictions, and the ways in which they are refused."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from conftest import ROOT

import faithful_xai as fx
from faithful_xai import errors


def test_what_is_known_of_a_network(net):
    assert net.input_shape[0] == 3 and len(net.labels) == len(set(net.labels)) > 5
    assert net.target_layer in [layer.name for layer in net.layers]
    assert [layer.name for layer in net.layers if layer.is_target] == [net.target_layer]
    assert net.activation in ("softmax", "sigmoid")
    assert net.name in repr(net)
    assert fx.models()[net.name] == "built in"


def test_weights_of_an_architecture(photo):
    weights = ROOT / "fixtures" / "scenes-vgg.safetensors"
    architecture = next(name for name in fx.models() if name.startswith("vgg"))
    with pytest.raises(errors.FaithfulError, match=r"."):
        fx.load(architecture, ROOT / "fixtures" / "missing.safetensors")
    with pytest.raises(errors.ArgumentTypeError, match="architecture"):
        fx.load(weights=weights)


def test_all_kinds_of_inputs_give_the_same(net, photo):
    image = pytest.importorskip("PIL.Image")
    whole = net.predict(photo).outputs
    assert whole.shape == (1, len(net.labels)) and whole.dtype == np.float32
    picture = image.open(photo)
    pixels = np.asarray(picture.convert("RGB"))
    for given in (picture, pixels, pixels[None], [photo], net.prepare(photo), net.prepare(photo)[0]):
        np.testing.assert_array_equal(net.predict(given).outputs, whole)
    doubled = net.predict([photo, picture]).outputs
    np.testing.assert_array_equal(doubled[0], doubled[1])
    values = net.prepare(photo)
    np.testing.assert_allclose(net.predict(values.astype(np.float64)).outputs, whole, rtol=1e-6)
    # A view that is not in C order.
    np.testing.assert_array_equal(net.predict(np.asfortranarray(values)).outputs, whole)


def test_tensors_come_by_dlpack(net, photo):
    torch = pytest.importorskip("torch")
    values = net.prepare(photo)
    tensor = torch.from_numpy(values).requires_grad_()
    np.testing.assert_array_equal(net.predict(tensor).outputs, net.predict(values).outputs)
    with pytest.raises(errors.ArgumentTypeError, match="numpy cannot take"):
        net.predict(torch.from_numpy(values).to(torch.bfloat16))


def test_predictions_are_ranked(net, photo):
    found = net.predict(photo)
    top = found.top(3)[0]
    assert top[0][0] == found.outputs[0].argmax() and top[0][1] == net.labels[top[0][0]]
    assert [one[2] for one in top] == sorted((one[2] for one in top), reverse=True)
    if net.activation == "softmax":
        assert found.probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_a_batch_changes_nothing(net, inputs):
    together = net.predict(inputs, batch=2).outputs
    apart = np.concatenate([net.predict(one).outputs for one in inputs])
    np.testing.assert_array_equal(together, apart)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda x: x.astype(np.int64), errors.ArgumentTypeError, "int64"),
        (lambda x: x.astype(complex), errors.ArgumentTypeError, "complex128"),
        (lambda x: x[:, :2], errors.ShapeError, "got"),
        (lambda x: x[0, 0], errors.ShapeError, "expected shape"),
        (lambda x: x[:0], errors.ShapeError, "at least one"),
        (lambda x: np.where(x == x[0, 1, 2, 3], np.nan, x), errors.NotFiniteError, r"first at \(0"),
        (lambda x: np.full_like(x, 1e39, dtype=np.float64), errors.NotFiniteError, "not finite"),
        (lambda x: x[:, :, :, :0], errors.ShapeError, "at least one"),
        (lambda x: [], errors.ShapeError, "empty"),
        (lambda x: object(), errors.ArgumentTypeError, "."),
        (lambda x: (x[0] * 0).astype(np.uint8), errors.ShapeError, "uint8"),
    ],
)
def test_bad_inputs_are_refused(net, inputs, change, error, text):
    with pytest.raises(error, match=text) as raised:
        net.predict(change(inputs))
    assert isinstance(raised.value, fx.FaithfulError)


def test_files_that_are_no_photos_or_networks(net, tmp_path):
    with pytest.raises(errors.FileError):
        net.predict(tmp_path / "absent.png")
    with pytest.raises(OSError):
        fx.load(tmp_path / "absent.onnx")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(errors.FormatError):
        net.predict(tmp_path / "broken.png")
    (tmp_path / "broken.onnx").write_bytes(b"\x0a\xff\xff\xff\xff\xff")
    with pytest.raises(errors.FaithfulError):
        fx.load(tmp_path / "broken.onnx")
    with pytest.raises(errors.UnknownNameError, match="did you mean"):
        fx.load("resnet5")
    with pytest.raises(errors.ParameterError, match="ONNX"):
        fx.load("weights.pth")


def test_options_of_loading():
    with fx.load(mean=[0.5, 0.5, 0.5], std=[0.25, 0.25, 0.25], interpolation="bicubic") as network:
        about = network.preprocessing
        assert about["mean"] == [0.5, 0.5, 0.5] and about["interpolation"] == "bicubic"
    with pytest.raises(errors.UnknownNameError, match="`interpolation`"):
        fx.load(interpolaton="bicubic")
    with pytest.raises(errors.ArgumentTypeError, match="mean: "):
        fx.load(mean=["a"], std=[1.0])
    with pytest.raises(errors.ParameterError, match="go together"):
        fx.load(mean=[0.5, 0.5, 0.5])
    with pytest.raises(errors.ParameterError, match="labels"):
        fx.load(labels=["only one"])


def test_a_closed_network_says_so(short_lived, photo):
    assert not short_lived.closed
    short_lived.close()
    short_lived.close()
    assert short_lived.closed and "closed" in repr(short_lived)
    for call in (lambda: short_lived.predict(photo), lambda: short_lived.labels, lambda: short_lived.explain(photo)):
        with pytest.raises(errors.ClosedError, match="load it again"):
            call()


def test_networks_are_not_pickled_or_copied(net):
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="each worker process"):
            copied(net)


def test_threads():
    before = fx.threads()
    fx.set_threads(1)
    assert fx.threads() == 1
    fx.set_threads(0)
    assert fx.threads() == before
    with pytest.raises(errors.ParameterError):
        fx.set_threads(5000)
