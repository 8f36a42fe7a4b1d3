"""Why a gradient of `faithful explain` and one of ONNX Runtime differ: the unit at a kink that rounding puts on the other side.

    python kink.py FAITHFUL NETWORK.onnx PHOTOS FOLDER

For each of five photos: the saliency map of `explain`, that of the exported file in ONNX Runtime, and the one in double precision by
PyTorch from the same ONNX file. Where the two differ by more than 1e-4, every relu and every maximum of a window is looked at in double
precision, nearest to its kink first, and the unit is sought with which, put on its other side, double precision gives the other map.
Operators of SqueezeNet and of plain convolutional networks are known. Needs torch, onnx, onnxruntime, pillow.
"""
import pathlib, subprocess, sys

import numpy as np, onnx, onnxruntime, torch
from onnx import numpy_helper
from torch.nn import functional as F

import export

TRIED = 60


class Double:
    """The network in double precision, with units that are put on the other side of their kink."""

    def __init__(self, path, output):
        graph = onnx.load(path).graph
        self.nodes, self.output, self.input = graph.node, output, None
        self.constants = {one.name: torch.tensor(numpy_helper.to_array(one).copy()) for one in graph.initializer}
        self.constants = {name: one.double() if one.is_floating_point() else one for name, one in self.constants.items()}
        self.input = next(one.name for one in graph.input if one.name not in self.constants)
        for node in self.nodes:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = torch.tensor(numpy_helper.to_array(node.attribute[0].t).copy())

    def run(self, x, flipped=()):
        """The outputs, and of every kink how near it is: (nearness, (node, place))."""
        values, near = {self.input: x}, []
        get = lambda name: values[name] if name in values else self.constants[name]
        for place, node in enumerate(self.nodes):
            if node.op_type == "Constant":
                continue
            a = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            given = [get(name) if name else None for name in node.input]
            own = [at for where, at in flipped if where == place]
            x = given[0]
            kind = node.op_type
            if kind == "Conv":
                pads = a.get("pads", [0] * 4)
                x = F.pad(x, (pads[1], pads[3], pads[0], pads[2]))
                y = F.conv2d(x, given[1], given[2] if len(given) > 2 else None, a.get("strides", 1), 0, a.get("dilations", 1), a.get("group", 1))
            elif kind in ("Relu", "Clip"):
                mask = (x > 0).double()
                for at in own:
                    mask.view(-1)[at] = 1 - mask.view(-1)[at]
                y = x * mask
                if kind == "Clip":
                    y = torch.clamp(y, max=6)
                size = x.detach().abs().view(-1)
                near += [(float(size[at] / size.max()), (place, int(at))) for at in size.topk(min(TRIED, size.numel()), largest=False).indices if float(size[at]) > 0]
            elif kind == "MaxPool":
                pads = a.get("pads", [0] * 4)
                k, s = a["kernel_shape"], a.get("strides", [1, 1])
                n, c, h, w = x.shape
                more = [0, 0]
                if a.get("ceil_mode"):
                    more = [(-(size + p + q - window)) % step for size, p, q, window, step in zip((h, w), pads[:2], pads[2:], k, s)]
                padded = F.pad(x, (pads[1], pads[3] + more[1], pads[0], pads[2] + more[0]), value=-1e300)
                windows = padded.unfold(2, k[0], s[0]).unfold(3, k[1], s[1]).flatten(4)
                top = windows.detach().topk(2, dim=4)
                index = top.indices[..., 0].clone()
                for at in own:
                    index.view(-1)[at] = top.indices[..., 1].reshape(-1)[at]
                y = windows.gather(4, index.unsqueeze(4)).squeeze(4)
                gap = (top.values[..., 0] - top.values[..., 1]).reshape(-1)
                scale = float(x.detach().abs().max())
                near += [(float(gap[at]) / scale, (place, int(at))) for at in gap.topk(min(TRIED, gap.numel()), largest=False).indices if float(gap[at]) > 0]
            elif kind == "Concat":
                y = torch.cat(given, a["axis"])
            elif kind == "Add":
                y = given[0] + given[1]
            elif kind in ("GlobalAveragePool", "ReduceMean"):
                y = x.mean((2, 3), keepdim=kind == "GlobalAveragePool" or bool(a.get("keepdims", 1)))
            elif kind == "Flatten":
                y = x.flatten(1)
            elif kind == "Reshape":
                y = x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(given[1].tolist())])
            elif kind == "Gemm":
                y = x @ (given[1].T if a.get("transB") else given[1]) + (given[2] if len(given) > 2 else 0)
            elif kind in ("Dropout", "Identity", "Cast"):
                y = x
            elif kind == "AveragePool":
                y = F.avg_pool2d(x, a["kernel_shape"], a.get("strides", 1), a.get("pads", [0])[0])
            elif kind == "BatchNormalization":
                y = F.batch_norm(x, given[3], given[4], given[1], given[2], False, 0, a.get("epsilon", 1e-5))
            elif kind == "Softmax":
                return x, near
            else:
                raise NotImplementedError(kind)
            values[node.output[0]] = y
            if node.output[0] == self.output:
                return y, near
        return y, near

    def saliency(self, x, flipped=()):
        x = torch.tensor(x).double().unsqueeze(0).requires_grad_()
        outputs, near = self.run(x, flipped)
        outputs = outputs.flatten()
        outputs[outputs.argmax()].backward()
        return x.grad[0].abs().amax(0).numpy(), near


def main(program, model, source, folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "explained.onnx"
    subprocess.run([program, "model", "export", model, "--method", "saliency", "--out", str(out)], check=True, capture_output=True)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    paths, tensors = export.photos(program, pathlib.Path(model), pathlib.Path(source), folder)
    double = Double(model, session.get_outputs()[0].name)
    for path, x in zip(paths, tensors):
        theirs = session.run(None, {session.get_inputs()[0].name: x[None]})[1][0]
        own = export.ours(program, pathlib.Path(model), path, ["--method", "saliency"], folder / "maps")
        exact, near = double.saliency(x)
        far = [export.difference(one, exact) for one in (own, theirs)]
        print(f"{path.parent.name}: explain - ONNX Runtime {export.difference(theirs, own):.1e}; from double precision: explain {far[0]:.1e}, ONNX Runtime {far[1]:.1e}")
        for name, single, distance in (("explain", own, far[0]), ("ONNX Runtime", theirs, far[1])):
            if distance < 1e-4:
                continue
            flipped, best = [], distance
            for nearness, unit in sorted(near)[:TRIED]:
                moved = export.difference(single, double.saliency(x, [*flipped, unit])[0])
                if moved < best * 0.9:
                    flipped.append(unit)
                    best = moved
                    node = double.nodes[unit[0]]
                    print(f"    {name}: unit {unit[1]} of {node.op_type} `{node.output[0]}`, {nearness:.1e} of the largest value from its kink, on the other side: {moved:.1e}")
                if best < 1e-4:
                    break


if __name__ == "__main__":
    main(*sys.argv[1:])
