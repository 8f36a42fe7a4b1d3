"""The same numbers as the libraries that people come from, run side by side on one network."""

from __future__ import annotations

import numpy as np
import pytest

import faithful_xai as fx

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")


class Small(torch.nn.Module):
    """Two stages of convolutions with a residual sum, a pool and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.layer1 = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1, stride=2), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(12, 7)

    def forward(self, x):
        x = self.stem(x)
        x = self.layer1(x) + x
        return self.fc(torch.flatten(self.pool(self.layer2(x)), 1))


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(4)
    module = Small().eval()
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_var, 0.5, 2)
            torch.nn.init.normal_(part.running_mean)
    # Classes that differ: the maps of a network with equal outputs are rounding.
    torch.nn.init.normal_(module.fc.weight)
    return module


@pytest.fixture(scope="module")
def ours(module):
    return fx.from_torch(module, torch.zeros(1, 3, 40, 48))


@pytest.fixture(scope="module")
def x():
    return torch.from_numpy(np.random.default_rng(1).normal(size=(3, 3, 40, 48)).astype(np.float32))


def close(ours, theirs):
    """Equal to a relative L2 distance of 1e-4: at a rectifier's kink a single unit may fall on the other side."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert ours.shape == theirs.shape
    assert np.linalg.norm(ours - theirs) <= 1e-4 * max(np.linalg.norm(theirs), 1e-9)


def test_the_network_is_the_same(module, ours, x):
    with torch.no_grad():
        close(ours.predict(x).outputs, module(x).numpy())
    assert not module.training
    assert ours.layer_name(module.layer2) == ours.target_layer


@pytest.mark.parametrize(
    "name", ["GradCAM", "GradCAMPlusPlus", "XGradCAM", "HiResCAM", "LayerCAM", "GradCAMElementWise", "ShapleyCAM", "FinerCAM"]
)
@pytest.mark.parametrize("layers", [("layer2",), ("layer1", "layer2")])
def test_pytorch_grad_cam(module, ours, x, name, layers):
    peer = pytest.importorskip("pytorch_grad_cam")
    if not hasattr(peer, name):
        pytest.skip(f"this pytorch-grad-cam has no {name}")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    parts = [getattr(module, layer) for layer in layers]
    targets = [ClassifierOutputTarget(category) for category in (5, 0, 2)]
    if name in ("FinerCAM", "ShapleyCAM") and len(layers) > 1:
        pytest.skip("compared at the last layer: at inner ones differences of gradients (ours) and second derivatives part at kinks")
    if name == "FinerCAM":
        theirs = peer.FinerCAM(module, parts)(x, targets=None)
        mine = fx.FinerCAM(ours, parts, definition="pytorch-grad-cam")(x)
    else:
        with getattr(peer, name)(model=module, target_layers=parts) as cam:
            theirs = cam(input_tensor=x, targets=targets)
        with getattr(fx, name)(model=ours, target_layers=parts, definition="pytorch-grad-cam") as cam:
            mine = cam(input_tensor=x, targets=targets)
    assert mine.shape == theirs.shape
    np.testing.assert_allclose(mine, theirs, atol=1e-4)


@pytest.mark.parametrize("name", ["ScoreCAM", "AblationCAM"])
def test_pytorch_grad_cam_without_gradients(module, ours, x, name):
    peer = pytest.importorskip("pytorch_grad_cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(category) for category in (5, 0, 2)]
    theirs = getattr(peer, name)(model=module, target_layers=[module.layer2])(x, targets)
    mine = getattr(fx, name)(ours, [module.layer2], definition="pytorch-grad-cam")(x, targets)
    np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_show_cam_on_image():
    image = pytest.importorskip("pytorch_grad_cam.utils.image")
    rng = np.random.default_rng(0)
    img, mask = rng.random((20, 24, 3)).astype(np.float32), rng.random((20, 24)).astype(np.float32)
    for rgb in (True, False):
        theirs = image.show_cam_on_image(img, mask, use_rgb=rgb).astype(int)
        assert np.abs(fx.show_cam_on_image(img, mask, use_rgb=rgb).astype(int) - theirs).max() <= 2


def test_captum(module, ours, x):
    captum = pytest.importorskip("captum.attr")
    target = torch.tensor([5, 0, 2])
    plain = {
        "Saliency": {},
        "InputXGradient": {},
        "GuidedBackprop": {},
        "Deconvolution": {},
    }
    for name in plain:
        theirs = getattr(captum, name)(module).attribute(x.clone(), target=target)
        close(getattr(fx, name)(ours).attribute(x, target=target), theirs.detach().numpy())


@pytest.mark.parametrize("rule", ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle"])
@pytest.mark.parametrize("baselines", [None, 0.3, "per input"])
def test_captum_integrated_gradients(module, ours, x, rule, baselines):
    captum = pytest.importorskip("captum.attr")
    target = torch.tensor([5, 0, 2])
    base = x.flip(0) if baselines == "per input" else baselines
    theirs, gap = captum.IntegratedGradients(module).attribute(
        x, baselines=base, target=target, n_steps=20, method=rule, return_convergence_delta=True
    )
    values, delta = fx.IntegratedGradients(ours).attribute(
        x, baselines=base, target=target, n_steps=20, method=rule, return_convergence_delta=True
    )
    close(values, theirs.detach().numpy())
    np.testing.assert_allclose(delta, gap.detach().numpy(), atol=1e-3)


def test_captum_layers(module, ours, x):
    captum = pytest.importorskip("captum.attr")
    target = torch.tensor([5, 0, 2])
    theirs = captum.LayerGradientXActivation(module, module.layer2).attribute(x, target=target)
    close(fx.LayerGradientXActivation(ours, module.layer2).attribute(x, target=target), theirs.detach().numpy())
    for relu in (False, True):
        theirs = captum.LayerGradCam(module, module.layer2).attribute(x, target=target, relu_attributions=relu)
        close(fx.LayerGradCam(ours, module.layer2).attribute(x, target=target, relu_attributions=relu), theirs.detach().numpy())
    theirs = captum.LayerIntegratedGradients(module, module.layer2).attribute(x, target=target, n_steps=20)
    close(fx.LayerIntegratedGradients(ours, module.layer2).attribute(x, target=target, n_steps=20), theirs.detach().numpy())


@pytest.mark.parametrize("name", ["GradCAM", "GradCAMpp", "XGradCAM", "LayerCAM"])
def test_torchcam(module, ours, x, name):
    methods = pytest.importorskip("torchcam.methods")
    own = {"GradCAM": "grad-cam", "GradCAMpp": "grad-cam++", "XGradCAM": "xgrad-cam", "LayerCAM": "layer-cam"}[name]
    for place, target in enumerate((5, 0, 2)):
        with getattr(methods, name)(module, target_layer=module.layer2) as extractor:
            scores = module(x[place : place + 1])
            theirs = extractor(target, scores, normalized=False)[0][0].detach().numpy()
        mine = ours.explain(x[place], target, method=own, definition="torchcam", layers=[module.layer2]).maps[0]
        close(np.maximum(mine, 0), np.maximum(theirs, 0))


def test_metrics_judge_the_peers_maps(module, ours, x):
    peer = pytest.importorskip("pytorch_grad_cam")
    maps = peer.GradCAM(model=module, target_layers=[module.layer2])(x, None)
    mine = fx.GradCAM(ours, [module.layer2], definition="pytorch-grad-cam")(x)
    measured = [fx.metrics.measure(ours, x, one, ["insertion", "deletion", "road"], steps=20) for one in (maps, mine)]
    for metric in ("insertion", "deletion"):
        np.testing.assert_allclose(measured[0][metric], measured[1][metric], atol=1e-3)
