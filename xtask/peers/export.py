"""Files of `faithful model export` in ONNX Runtime and OpenVINO, compared with the maps of `faithful explain`.

    python export.py FAITHFUL PHOTOS FOLDER LINES [--networks a,b] [--methods a,b] [--models FOLDER] [--size 224]
    python export.py table LINES              makes docs/results/export.md's tables
    python export.py speed FAITHFUL FOLDER    times Grad-CAM of a ResNet-50: the file, `faithful_xai` (where it is installed),
                                              pytorch-grad-cam

FAITHFUL is the program, PHOTOS a folder of photos of which the first five are taken, FOLDER where networks and files go, LINES a
file to which a JSON line is added for each network and method; what is there already is left out. Networks are torchvision's
with seeded random weights (as networks.py draws them) and a CNN-LSTM; --models adds every ONNX file of a folder. Each file is
checked by `onnx.checker` with full shape inference, run for one photo and for five at once, and compared by the largest
difference as a share of the map's largest value. Needs torch, torchvision, onnx, onnxruntime, openvino, pillow.
"""
import argparse, json, os, pathlib, subprocess, sys, time, warnings

import networks

NETWORKS = ["vgg16", "resnet50", "densenet121", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny", "swin_t",
            "vit_b_16", "squeezenet1_1", "googlenet", "cnn_lstm"]
# Name in the table: options of both commands.
METHODS = {
    "grad-cam": [], "grad-cam++": [], "xgrad-cam": [], "hires-cam": [], "layer-cam": [], "grad-cam-elementwise": [],
    "saliency": [], "gradient-times-input": [], "guided-backpropagation": [], "guided-grad-cam": [], "full-grad": [],
    "recipro-cam": [],
    "grad-cam, smooth": ["--method", "grad-cam", "--gradient", "smooth", "--draws", "3"],
    "expected-grad-cam": ["--method", "expected-grad-cam", "--draws", "3"],
    "expected-grad-cam++": ["--method", "expected-grad-cam++", "--draws", "3"],
    "hyper-expected-grad-cam": ["--method", "hyper-expected-grad-cam", "--draws", "3"],
    "integrated-gradients": ["--method", "integrated-gradients", "--draws", "3"],
    "expected-gradients": ["--method", "expected-gradients", "--draws", "3"],
}
OPENVINO = ["resnet50", "mobilenet_v2", "squeezenet1_1", "efficientnet_b0", "convnext_tiny", "vit_b_16", "googlenet"]


def cnn_lstm():
    """Rows of a picture's features as a series."""
    import torch

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            block = lambda c, o: [torch.nn.Conv2d(c, o, 3, 2, 1), torch.nn.BatchNorm2d(o), torch.nn.ReLU()]
            self.features = torch.nn.Sequential(*block(3, 16), *block(16, 24), *block(24, 32), *block(32, 32))
            self.lstm = torch.nn.LSTM(32 * 14, 24, batch_first=True, bidirectional=True)
            self.head = torch.nn.Linear(48, 10)

        def forward(self, x):
            y = self.features(x)
            y = y.permute(0, 2, 1, 3).flatten(2)
            return self.head(self.lstm(y)[0][:, -1])

    torch.manual_seed(7)
    return Net().eval()


def onnx_file(folder, name, size):
    import torch, torchvision
    path = folder / f"{name}.onnx"
    if path.exists():
        return path
    if name == "cnn_lstm":
        net = cnn_lstm()
    else:
        networks.TORCHVISION.setdefault(name, size)
        net = networks.network(name)
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    torch.backends.mha.set_fastpath_enabled(False)
    torch.onnx.export(net, (torch.zeros(1, 3, size, size),), str(path), dynamo=False, input_names=["x"], output_names=["y"],
                      dynamic_axes=axes, opset_version=17)
    # The size is wanted on both sides alike: photos are not resampled by either.
    path.with_suffix(".json").write_text(json.dumps({"input_size": [size, size], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}))
    return path


def photos(program, model, source, folder):
    """Five photos that have the network's size already, each called `export` (the name keys random draws), and their tensors."""
    import numpy as np
    from PIL import Image
    info = json.loads(subprocess.run([program, "model", "info", str(model), "--json"], capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    channels, height, width = info["input"]
    about = info["preprocessing"]
    found, tensors = [], []
    for place, path in enumerate(sorted(source.rglob("*.JP*G"))[:5]):
        picture = Image.open(path).convert("RGB")
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        picture = picture.crop((left, top, left + side, top + side)).resize((width, height), Image.LANCZOS)
        target = folder / f"{height}x{width}" / str(place) / "export"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture.save(target, format="PNG")
        found.append(target)
        array = np.asarray(picture, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
        if about["channels"] == "bgr":
            array = array[::-1]
        mean, std = (np.array(about[key], dtype=np.float32).reshape(-1, 1, 1) for key in ("mean", "std"))
        tensors.append((array - mean) / std)
    return found, np.stack(tensors)


def ours(program, model, photo, options, folder):
    import numpy as np
    command = [program, "explain", str(photo), "--model", str(model), "--fit", "stretch", "--out", str(folder), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return np.load(json.loads(done.stdout.splitlines()[-1])["files"]["map"])


def difference(found, wanted):
    import numpy as np
    if not np.abs(wanted).max() > 0:
        return float(np.abs(found).max())
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def compare(program, name, model, method, options, source, folder, with_openvino):
    import numpy as np, onnx, onnxruntime
    out = folder / "explained.onnx"
    options = options or ["--method", method]
    line = {"network": name, "method": method}
    done = subprocess.run([program, "model", "export", str(model), "--out", str(out), *options], capture_output=True, text=True)
    if done.returncode:
        return {**line, "refused": " ".join(done.stderr.split())[:300]}
    grown = out.stat().st_size / model.stat().st_size - 1
    onnx.checker.check_model(str(out), full_check=True)
    paths, tensors = photos(program, model, source, folder)
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    original = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    read = original.get_inputs()[0]
    given = tensors.astype(np.float16) if "float16" in read.type else tensors
    feed = lambda one: {session.get_inputs()[0].name: one}
    five = session.run(None, feed(tensors))
    one = session.run(None, feed(tensors[:1]))
    wanted = np.stack([ours(program, model, path, options, folder / "maps") for path in paths])
    outputs = [original.run([session.get_outputs()[0].name], {read.name: given[place : place + 1]})[0] for place in range(len(given))]
    outputs = np.concatenate([np.asarray(output, dtype=np.float32).reshape(1, -1) for output in outputs])
    line |= {
        "one": difference(one[1][0], wanted[0]), "five": max(difference(a, b) for a, b in zip(five[1], wanted)),
        "outputs": difference(five[0].reshape(len(outputs), -1), outputs), "grown": grown, "nodes": len(onnx.load(str(out), load_external_data=False).graph.node),
    }
    if with_openvino:
        import openvino
        try:
            compiled = openvino.Core().compile_model(str(out), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            found = compiled(feed(tensors))[compiled.output(1)]
            line["openvino"] = max(difference(a, b) for a, b in zip(found, wanted))
        except Exception as error:
            line["openvino_error"] = " ".join(str(error).split())[:300]
    return line


def measure(arguments):
    folder = pathlib.Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    lines = pathlib.Path(arguments.lines)
    known = {(one["network"], one["method"]) for one in map(json.loads, lines.read_text().splitlines())} if lines.exists() else set()
    names = NETWORKS if arguments.networks is None else arguments.networks.split(",")
    methods = arguments.methods.split(",") if arguments.methods else list(METHODS)
    models = [(name, None) for name in names if name] + ([(path.stem, path) for path in sorted(pathlib.Path(arguments.models).glob("*.onnx"))] if arguments.models else [])
    for name, path in models:
        for method in methods:
            if (name, method) in known:
                continue
            model = path or onnx_file(folder, name, arguments.size)
            began = time.time()
            try:
                line = compare(arguments.program, name, model, method, METHODS.get(method, []), pathlib.Path(arguments.photos), folder, name in OPENVINO)
            except Exception as error:
                line = {"network": name, "method": method, "failed": " ".join(str(error).split())[:300]}
            line["seconds"] = round(time.time() - began, 1)
            with lines.open("a") as file:
                print(json.dumps(line), file=file)
            print(json.dumps(line), flush=True)


def table(path):
    found = {(one["network"], one["method"]): one for one in map(json.loads, open(path))}
    names = list(dict.fromkeys(network for network, _ in found))
    methods = [method for method in METHODS if any((name, method) in found for name in names)]

    def cells(value):
        print("| network | " + " | ".join(methods) + " |\n|---|" + "---|" * len(methods))
        for name in names:
            print(f"| {name} | " + " | ".join(value(found.get((name, method))) for method in methods) + " |")

    def worst(one):
        if one is None:
            return ""
        if "refused" in one or "failed" in one:
            return "refused" if "refused" in one else "**failed**"
        value = max(one["one"], one["five"])
        return f"{value:.0e}" if value <= 1e-4 else f"**{value:.0e}**"

    print("ONNX Runtime:\n")
    cells(worst)
    print("\nOpenVINO:\n")
    with_it = [name for name in names if any("openvino" in found.get((name, method), {}) for method in methods)]
    print("| network | " + " | ".join(methods) + " |\n|---|" + "---|" * len(methods))
    for name in with_it:
        row = [found.get((name, method), {}) for method in methods]
        print(f"| {name} | " + " | ".join(f"{one['openvino']:.0e}" if "openvino" in one else "fails" if "openvino_error" in one else "" for one in row) + " |")
    print("\n| network | outputs | growth, plain methods | nodes of Grad-CAM |\n|---|---|---|---|")
    for name in names:
        rows = [one for (network, _), one in found.items() if network == name and "grown" in one]
        plain = [one["grown"] for one in rows if "--draws" not in METHODS[one["method"]]]
        nodes = found.get((name, "grad-cam"), {}).get("nodes", "")
        if rows:
            print(f"| {name} | {max(one['outputs'] for one in rows):.0e} | {100 * max(plain, default=0):.2f}% | {nodes} |")
    for one in found.values():
        for key in ("refused", "failed", "openvino_error"):
            if key in one:
                print(f"\n{one['network']}, {one['method']}: {one[key]}")


def speed(program, folder):
    """Seconds for a photo's Grad-CAM, the median of nine, one thread each (RAYON_NUM_THREADS=1 for faithful)."""
    import numpy as np, onnxruntime, statistics, torch
    from pytorch_grad_cam import GradCAM
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = onnx_file(folder, "resnet50", 224)
    out = folder / "explained.onnx"
    subprocess.run([program, "model", "export", str(model), "--method", "grad-cam", "--out", str(out)], check=True, capture_output=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    torch.set_num_threads(1)
    x = np.random.default_rng(1).standard_normal((1, 3, 224, 224), dtype=np.float32)
    net = networks.network("resnet50")
    cam = GradCAM(net, [net.layer4[-1]])
    tensor = torch.from_numpy(x)
    sessions = {name: onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]) for name, path in
                (("the network alone, ONNX Runtime", model), ("the exported file, ONNX Runtime", out))}
    work = {name: (lambda session=session: session.run(None, {session.get_inputs()[0].name: x})) for name, session in sessions.items()}
    work["pytorch-grad-cam"] = lambda: cam(tensor, targets=None)
    try:
        import faithful_xai
        own = faithful_xai.GradCAM(faithful_xai.load(str(model)))
        work["faithful"] = lambda: own(x, targets=None)
    except ImportError:
        print("faithful_xai is not installed: left out", file=sys.stderr)
    # In turns, so that a slow minute is everybody's.
    times = {name: [] for name in work}
    for turn in range(10):
        for name, run in work.items():
            began = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - began)
    print("| Grad-CAM of a ResNet-50, one photo, one thread | seconds |\n|---|---|")
    for name, all in times.items():
        print(f"| {name} | {statistics.median(all):.3f} |", flush=True)


def main():
    warnings.filterwarnings("ignore")
    if sys.argv[1:2] == ["table"] and len(sys.argv) == 3:
        return table(sys.argv[2])
    if sys.argv[1:2] == ["speed"] and len(sys.argv) == 4:
        return speed(*sys.argv[2:])
    parser = argparse.ArgumentParser(usage=__doc__)
    for name in ("program", "photos", "folder", "lines"):
        parser.add_argument(name)
    for name in ("networks", "methods", "models"):
        parser.add_argument(f"--{name}", default=None)
    parser.add_argument("--size", type=int, default=224)
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
