"""Regions, boxes, similarity and sums: what is explained of networks that give more than a number per class."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT

import faithful_xai as fx

OUTPUTS = ROOT / "fixtures" / "goldens" / "outputs"
PHOTO = str(OUTPUTS / "photo.png")
OTHER = str(OUTPUTS / "other.png")


def load(name, **options):
    return fx.load(OUTPUTS / f"{name}.onnx", **options)


def test_boxes_are_listed_and_explained():
    found = load("yolo8").detections(PHOTO)[0]
    assert [one.number for one in found[:3]] == [1, 2, 3] and "blue" in {one.label for one in found}
    blue = next(one for one in found if one.label == "blue")
    assert blue.box[0] < blue.box[2] and blue.box[1] < blue.box[3]
    with load("yolo8", detection="blue") as net:
        one = net.explain(PHOTO, method="layer-cam")
        assert one.labels == ["blue"]
        assert one.maps.shape[0] == 1 and one.maps.any()
        assert abs(net.predict(PHOTO).probabilities[0].max() - blue.score) < 1e-3
        # The same box, of the input as an array: its pixels are the input's then.
        again = net.explain(net.prepare(PHOTO), method="layer-cam", names=["photo.png"])
        assert np.allclose(one.maps, again.maps, atol=1e-6)
        with pytest.raises(fx.errors.ParameterError, match="loaded to explain one"):
            net.detections(PHOTO)
    with load("yolo8", detection="blue/left") as net:
        assert abs(net.explain(PHOTO, method="saliency").scores[0] - blue.box[0]) < 0.5
    with pytest.raises(fx.errors.ParameterError, match="no detection 999"):
        load("yolo8", detection="999").explain(PHOTO, method="grad-cam")


def test_regions_are_explained_and_measured():
    areas = load("segmentation").areas([PHOTO, OTHER])
    assert areas.shape[0] == 2 and np.allclose(areas.sum(axis=1), 1)
    with load("segmentation", region="point:46,34") as net:
        found = net.explain(PHOTO, method="layer-cam")
        assert found.labels == ["blue"]
        judged = fx.measure(net, PHOTO, found.maps, ["insertion", "deletion"], steps=8)
        assert judged.values["insertion"][0] > judged.values["deletion"][0]
    with pytest.raises(fx.errors.ParameterError, match="outside"):
        load("segmentation", region="point:99,1").predict(PHOTO)


def test_similarity_and_sums():
    with load("embedding", similar_to=OTHER) as there, load("embedding", similar_to=PHOTO) as back:
        assert abs(there.predict(PHOTO).outputs[0, 0] - back.predict(OTHER).outputs[0, 0]) < 1e-5
        assert there.explain(PHOTO, method="grad-cam").labels == ["similarity to other.png"]
    with load("counts", sums=["both=sum(density)"]) as net:
        assert net.labels == ["both"] and net.predict(PHOTO).outputs.shape == (1, 1)
    with pytest.raises(fx.errors.ParameterError, match="not several"):
        load("counts", sums=["sum(density)"], region="class")
    with pytest.raises(fx.errors.ParameterError, match="no detection and no segmentation"):
        load("embedding").detections(PHOTO)
