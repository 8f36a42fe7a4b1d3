"""Evaluation runs, and networks of the remaining life."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT

import faithful_xai as fx
from faithful_xai import errors, rul


def test_a_run_is_kept_and_gone_on_with(net, tmp_path):
    asked = {"metrics": ["insertion", "drop@30"], "samples": 3, "steps": 8}
    run = fx.evaluate(net, "scenes", ["grad-cam", "saliency"], tmp_path / "run", **asked)
    assert (run.images, run.resumed, run.failures) == (3, 0, [])
    again = fx.evaluate(net, "scenes", ["grad-cam", "saliency"], tmp_path / "run", resume=True, **asked)
    assert again.resumed == 3
    with pytest.raises(errors.ParameterError, match="resume"):
        fx.evaluate(net, "scenes", ["grad-cam"], tmp_path / "run", resume=True, **asked)
    pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    rows = run.rows()
    assert len(rows) == 3 * 2 * 2 and set(rows["metric"]) == {"insertion", "drop@30"}
    table = run.table()
    assert table.loc["grad-cam", "insertion"] == pytest.approx(
        rows[(rows.method == "grad-cam") & (rows.metric == "insertion")].value.mean()
    )


def test_what_a_run_refuses(net, tmp_path):
    with pytest.raises(errors.UnknownNameError, match="`grad-cam`"):
        fx.evaluate(net, "scenes", ["gradcam"], tmp_path / "run")
    with pytest.raises(errors.UnknownNameError, match="`samples`"):
        fx.evaluate(net, "scenes", ["grad-cam"], tmp_path / "run", sample=3)
    with pytest.raises(errors.FaithfulError):
        fx.evaluate(net, ROOT / "docs" / "nothing here", ["grad-cam"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def pumps():
    """Machines whose first sensor falls towards their end."""
    rng = np.random.default_rng(0)
    table = {"unit": [], "cycle": [], "flow": [], "noise": []}
    for unit in range(6):
        life = 40 + 3 * unit
        for cycle in range(1, life + 1):
            table["unit"].append(unit)
            table["cycle"].append(cycle)
            table["flow"].append(float(np.exp(-(life - cycle) / 15) + rng.normal() * 0.02))
            table["noise"].append(float(rng.normal()))
    return table


def test_a_network_of_the_remaining_life(pumps, tmp_path):
    quick = {"window": 10, "epochs": 1, "members": 1, "refit": False, "cap": 50.0, "stride": 3}
    model = rul.train(pumps, columns={"to_failure": True}, **quick)
    assert model.sensors == ["flow", "noise"] and model.window == 10 and model.validation is not None
    found = model.predict(pumps)
    assert found.units == [str(unit) for unit in range(6)] and found.predicted.shape == (6,)
    assert (found.predicted >= 0).all() and (found.predicted <= 50).all() and np.isnan(found.remaining).all()
    model.save(tmp_path / "pumps.safetensors")
    np.testing.assert_array_equal(rul.load(tmp_path / "pumps.safetensors").predict(pumps).predicted, found.predicted)
    explained = model.explain(pumps, method="expected-gradients", draws=4)
    assert explained.maps.shape == (6, 2, 10) and len(explained.drivers()) == 6
    assert set(explained.drivers()[0]) == {"flow", "noise"}
    timeline = model.explain(pumps, method="grad-cam")
    assert timeline.maps.ndim == 2 and len(timeline.maps) == 6
    with pytest.raises(errors.ShapeError, match="sensors apart"):
        timeline.drivers()


def test_frames_of_others(pumps):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(pumps)
    built_in = rul.load()
    with pytest.raises(errors.FaithfulError):
        built_in.predict(frame)
    with pytest.raises(errors.ArgumentTypeError, match="DataFrame"):
        built_in.predict(3)
    with pytest.raises(errors.ShapeError, match="lengths"):
        built_in.predict({**pumps, "flow": [1.0]})
    with pytest.raises(errors.UnknownNameError):
        rul.train(pumps, kind="cnn-lst")
