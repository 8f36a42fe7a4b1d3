"""Maps of int8 networks compared with those of the float networks that they were made of.

    python int8.py FAITHFUL PHOTOS FOLDER NETWORK...

Each NETWORK (an ONNX file with the JSON beside it) is quantised by ONNX Runtime (static, per channel, QDQ and QOperator; calibrated on every other
of the first 80 of PHOTOS) into FOLDER; the 20 photos between them are explained with both. A line per method: how many photos keep their class, the
rank correlation of the maps and their distance as a share of the float map's length. Needs numpy, onnx, onnxruntime, pillow.
"""
import json, pathlib, subprocess, sys

import numpy as np
import onnx
from onnx import version_converter
from onnxruntime import quantization as Q
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

METHODS = ["grad-cam", "layer-cam", "expected-grad-cam", "saliency"]


def prepared(path, about):
    """A photo as the network takes it: the shorter side to 256, the centre of 224."""
    picture = Image.open(path).convert("RGB")
    scale = 256 / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.BILINEAR)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    values = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32) / 255
    values = values[:, :, ::-1] if about.get("channels") == "bgr" else values
    return ((values - about["mean"]) / about["std"]).transpose(2, 0, 1)[None].astype(np.float32)


def quantised(network, folder, photos):
    """The network in both forms."""
    side = network.with_suffix(".json")
    about = json.loads(side.read_text())
    model = onnx.load(network)
    if model.opset_import[0].version < 13:
        model = version_converter.convert_version(model, 13)
    name = model.graph.input[0].name
    newer, ready = folder / "newer.onnx", folder / "ready.onnx"
    onnx.save(model, newer)
    quant_pre_process(newer, ready)

    class Reader(Q.CalibrationDataReader):
        def __init__(self):
            self.rows = iter([{name: prepared(path, about)} for path in photos])

        def get_next(self):
            return next(self.rows, None)

    for form in (Q.QuantFormat.QDQ, Q.QuantFormat.QOperator):
        target = folder / f"{network.stem}.{form.name.lower()}.onnx"
        Q.quantize_static(ready, target, Reader(), quant_format=form, per_channel=True,
                          activation_type=Q.QuantType.QUInt8, weight_type=Q.QuantType.QInt8)
        target.with_suffix(".json").write_text(side.read_text())
        yield form.name, target


def maps(program, network, photos, method, folder):
    command = [program, "explain", *photos, "--model", network, "--method", method, "--draws", "8", "--out", folder, "--json", "-q"]
    lines = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout.splitlines()
    found = map(json.loads, lines)
    return [(one["class"], np.load(one["files"]["map"])) for one in found]


def ranks(values):
    return np.argsort(np.argsort(values.ravel(), kind="stable"), kind="stable").astype(float)


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    program, source, folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    photos = sorted(source.glob("*.JP*G"))
    calibration, judged = photos[:80:2], photos[1:40:2]
    print("| network | form | method | same class | rank correlation, median and least | distance, median |\n|---|---|---|--:|--:|--:|")
    for network in map(pathlib.Path, sys.argv[4:]):
        for form, target in quantised(network, folder, calibration):
            for method in METHODS:
                both = zip(*(maps(program, one, judged, method, folder / f"{one.stem}.{method}") for one in (network, target)))
                same = [(a[1], b[1]) for a, b in both if a[0] == b[0]]
                alike = [np.corrcoef(ranks(a), ranks(b))[0, 1] for a, b in same]
                apart = [np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in same]
                print(f"| {network.stem} | {form} | {method} | {len(same)} of {len(judged)} | {np.median(alike):.3f}, {min(alike):.3f} | "
                      f"{np.median(apart):.1%} |", flush=True)


if __name__ == "__main__":
    main()
