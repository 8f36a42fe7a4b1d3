"""Networks of PyTorch and Keras, by way of ONNX. Neither is needed for anything else."""

from __future__ import annotations

import ast
import os
import tempfile
from typing import TYPE_CHECKING, Any, Optional

from . import _native
from ._packages import needed
from .errors import ArgumentTypeError, MissingPackageError, UnsupportedError
from .network import Network, _plain

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import LoadOptions

__all__ = ["from_keras", "from_torch"]


def from_torch(module: Any, example: Optional[Any] = None, **options: Unpack[LoadOptions]) -> Network:
    """The network of a PyTorch module, exported with `torch.onnx`; needs `torch`, `onnx` and `onnxscript`.

    `example` is an input `(1, C, H, W)` that fixes the size, by default `(1, 3, 224, 224)` of zeros. The module is exported in evaluation
    mode and left as it was. The options are those of `load`, `labels=[…]` among them. Its parts may be named as layers, by themselves (`target_layers=[model.layer4]`) or by their names.
    """
    torch = needed("torch", "from_torch needs PyTorch: `pip install torch onnx onnxscript`")
    if not isinstance(module, torch.nn.Module):
        raise ArgumentTypeError(f"module: expected a torch.nn.Module, got {type(module).__name__}")
    sample = torch.zeros(1, 3, 224, 224) if example is None else torch.as_tensor(example)
    if sample.ndim == 3:
        sample = sample[None]
    training = module.training
    folder = tempfile.TemporaryDirectory(prefix="faithful-")
    path = os.path.join(folder.name, f"{type(module).__name__.lower()}.onnx")
    try:
        module.eval()
        _export(torch, module, sample[:1].detach().cpu(), path)
        native = _native.Network.open(path, _plain(options))
    except BaseException:
        folder.cleanup()
        raise
    finally:
        module.train(training)
    aliases = _parts(path, {layer[0] for layer in native.layers()})
    modules = {id(part): aliases[name] for name, part in module.named_modules() if name in aliases}
    # The module stays, so that no other object gets the identity of one of its parts.
    return Network(native, aliases, modules, (folder, module))


def _export(torch: Any, module: Any, sample: Any, path: str) -> None:
    try:
        torch.onnx.export(
            module,
            (sample,),
            path,
            dynamo=True,
            external_data=False,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    except ImportError as error:
        raise MissingPackageError(
            f"from_torch exports with torch.onnx, which needs more: {error}; `pip install onnx onnxscript`"
        ) from error
    except Exception as error:
        raise UnsupportedError(f"torch.onnx cannot export this module: {error}") from error


def _parts(path: str, layers: set[str]) -> dict[str, str]:
    """The layer that gives the output of each part of the module, as the exporter wrote it beside each node: the last that ran in it."""
    onnx = needed("onnx", "from_torch needs onnx: `pip install onnx onnxscript`")
    parts: dict[str, str] = {}
    for node in onnx.load(path, load_external_data=False).graph.node:
        layer = next((name for name in (node.name, *node.output) if name in layers), None)
        scopes = next((one.value for one in node.metadata_props if one.key == "pkg.torch.onnx.name_scopes"), "[]")
        if layer is not None:
            # The last is the operation's own name.
            parts.update((scope, layer) for scope in ast.literal_eval(scopes)[:-1] if scope)
    return parts


def from_keras(model: Any, **options: Unpack[LoadOptions]) -> Network:
    """The network of a Keras 3 model, exported by `model.export(format="onnx")`; needs what Keras needs for that."""
    keras = needed("keras", "from_keras needs Keras: `pip install keras tf2onnx`")
    if not isinstance(model, keras.Model):
        raise ArgumentTypeError(f"model: expected a keras.Model, got {type(model).__name__}")
    folder = tempfile.TemporaryDirectory(prefix="faithful-")
    path = os.path.join(folder.name, f"{model.name}.onnx")
    try:
        try:
            model.export(path, format="onnx", verbose=False)
        except ImportError as error:
            raise MissingPackageError(f"Keras cannot export to ONNX: {error}") from error
        except Exception as error:
            raise UnsupportedError(f"Keras cannot export this model: {error}") from error
        native = _native.Network.open(path, _plain(options))
    except BaseException:
        folder.cleanup()
        raise
    return Network(native, keep=folder)
