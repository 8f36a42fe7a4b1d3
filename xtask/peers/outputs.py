"""Maps of segmentation and detection networks, compared with PyTorch's.

    python outputs.py FAITHFUL PHOTO FOLDER LINES [--networks a,b]
    python outputs.py table LINES              makes docs/results/outputs.md's table

FAITHFUL is the program, PHOTO a photo, FOLDER where networks and maps go, LINES a file to which a JSON line is added for each network, score and
method. Networks are torchvision's with seeded random weights. The maps of `faithful explain` at a layer are compared with those of hooks at
the same layer, by the largest difference as a share of the map's largest value. A detection is what `faithful explain --detection`
chose, found among PyTorch's boxes by its score and corners. Needs torch, torchvision, onnx, numpy, pillow.
"""
import json, pathlib, subprocess, sys, zlib

SIDE = 320
NETWORKS = ["deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large", "ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn"]
LAYERS = {"deeplabv3_mobilenet_v3_large": "backbone.16", "lraspp_mobilenet_v3_large": "backbone.16",
          "ssdlite320_mobilenet_v3_large": "backbone.features.1.0", "retinanet_resnet50_fpn": "backbone.body.layer4"}
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def seeded(net, name):
    import torch
    torch.manual_seed(zlib.crc32(name.encode()))
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                module.bias.data.normal_(0, 0.1)
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1)
            module.bias.data.normal_(0, 0.1)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    return net.eval()


def network(name):
    """The network, and whether it gives boxes."""
    import torch, torchvision
    if "deeplab" in name or "lraspp" in name:
        options = {"weights": None, "weights_backbone": None, "num_classes": 21}
        net = seeded(getattr(torchvision.models.segmentation, name)(**options), name)

        class Out(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.net = net

            def forward(self, x):
                return self.net(x)["out"]
        return Out().eval(), False
    net = seeded(getattr(torchvision.models.detection, name)(weights=None, weights_backbone=None), name)
    sample = torch.zeros(1, 3, SIDE, SIDE)
    with torch.no_grad():
        features = list(net.backbone(sample).values())
        images = torchvision.models.detection.image_list.ImageList(sample, [(SIDE, SIDE)])
        anchors = net.anchor_generator(images, features)[0]
        # Of random weights, logits are large: they are made such that a class is not certain.
        noise = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
        scale = float(4 / net.head(list(net.backbone(noise).values()))["cls_logits"].abs().max())
    softmax = name.startswith("ssd")

    class Boxes(torch.nn.Module):
        """Boxes and scores before the suppression: the decoding of torchvision's BoxCoder, for all anchors."""
        def __init__(self):
            super().__init__()
            self.net = net
            self.register_buffer("anchors", anchors)

        def forward(self, x):
            found = self.net.head(list(self.net.backbone(x).values()))
            weights = self.net.box_coder.weights
            dx, dy, dw, dh = [found["bbox_regression"][..., i] / weights[i] for i in range(4)]
            size = self.anchors[:, 2:] - self.anchors[:, :2]
            middle = self.anchors[:, :2] + size / 2
            cx, cy = dx * size[:, 0] + middle[:, 0], dy * size[:, 1] + middle[:, 1]
            w, h = torch.exp(dw.clamp(max=4.135)) * size[:, 0], torch.exp(dh.clamp(max=4.135)) * size[:, 1]
            boxes = torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 2)
            logits = found["cls_logits"] * scale
            return boxes, torch.softmax(logits, 2) if softmax else torch.sigmoid(logits)
    return Boxes().eval(), True


def ours(program, model, photo, options, folder):
    import numpy as np
    command = [program, "explain", str(photo), "--model", str(model), "--out", str(folder), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(" ".join(command) + "\n" + done.stderr)
    line = json.loads(done.stdout.splitlines()[-1])
    return line, np.load(line["files"]["map"])


def theirs(net, layer, x, score, method):
    import torch
    kept = {}
    module = net.get_submodule(layer)
    handle = module.register_forward_hook(lambda m, i, out: (out.retain_grad(), kept.update(a=out)) and None)
    value = score(net(x))
    value.backward()
    handle.remove()
    a, g = kept["a"][0], kept["a"].grad[0]
    map = (g.mean((1, 2), keepdim=True) * a).sum(0) if method == "grad-cam" else (torch.relu(g) * a).sum(0)
    return value.item(), torch.relu(map).detach().numpy()


def compare(program, photo, folder, name, lines):
    import numpy as np, torch
    from PIL import Image
    net, boxes = network(name)
    outputs = ["boxes", "scores"] if boxes else ["out"]
    path = folder / f"{name}.onnx"
    x = torch.zeros(1, 3, SIDE, SIDE)
    axes = {out: {0: "batch"} for out in ["images", *outputs]}
    if not path.exists():
        torch.onnx.export(net, (x,), str(path), dynamo=False, input_names=["images"], output_names=outputs, dynamic_axes=axes, opset_version=17)
    classes = 90 if name.startswith("ssd") else 91
    side = {"input_size": [SIDE, SIDE], "fit": "stretch", "mean": MEAN, "std": STD,
            "labels": [f"c{k}" for k in range(classes if boxes else 21)]}
    if name.startswith("ssd"):
        side["background"] = "first"
    path.with_suffix(".json").write_text(json.dumps(side))
    picture = Image.open(photo).convert("RGB").resize((SIDE, SIDE))
    small = folder / "photo.png"
    picture.save(small)
    array = np.asarray(picture, dtype=np.float32) / 255
    x = torch.tensor(((array - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)[None], dtype=torch.float32).contiguous()
    layer = f"net.{LAYERS[name]}"
    with torch.no_grad():
        out = net(x)
    choices = ["1", "2", "box:100,100,220,220"] if boxes else ["class", "box:80,80,240,200", "point:160,100"]
    for choice in choices:
        for method in ("grad-cam", "layer-cam"):
            options = ["--detection" if boxes else "--region", choice, "--method", method, "--layer", LAYERS[name] if boxes else layer]
            line, own = ours(program, path, small, options, folder / "maps")
            k = line["class"]
            if boxes:
                probabilities = out[1][0]
                odds = torch.logit(probabilities.double())[:, k + (1 if name.startswith("ssd") else 0)]
                row = int((odds - line["score"]).abs().argmin())
                column = k + (1 if name.startswith("ssd") else 0)
                score = lambda out: torch.logit(out[1][0, row, column].double())
            else:
                classes_of = out[0].argmax(0)
                size = classes_of.shape[0]
                place = (torch.arange(size) + 0.5) * SIDE / size
                pixel = place.floor() + 0.5
                if choice == "class":
                    mask = classes_of == k
                elif choice.startswith("box"):
                    mask = ((pixel >= 80) & (pixel < 200))[:, None] & ((pixel >= 80) & (pixel < 240))[None]
                else:
                    mask = torch.zeros(size, size, dtype=torch.bool)
                    mask[int(100 * size / SIDE), int(160 * size / SIDE)] = True
                score = lambda out: out[0, k][mask].mean()
            value, map = theirs(net, layer, x, score, method)
            # Where the box comes from another layer, both maps are empty.
            difference = float(np.abs(map - own).max() / (np.abs(map).max() or 1))
            found = {"network": name, "score": choice, "method": method, "layer": line["layer"], "class": k, "ours": line["score"],
                     "theirs": value, "difference": difference}
            print(json.dumps(found), flush=True)
            with open(lines, "a") as file:
                file.write(json.dumps(found) + "\n")


def table(lines):
    print("| network | score | method | score in faithful | in PyTorch | largest difference of the map |\n|---|---|---|---:|---:|---:|")
    for line in open(lines):
        row = json.loads(line)
        print(f"| `{row['network']}` | `{row['score']}` | `{row['method']}` | {row['ours']:.4f} | {row['theirs']:.4f} | {row['difference']:.1e} |")


def main():
    if sys.argv[1] == "table":
        return table(sys.argv[2])
    program, photo, folder, lines = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4]
    wanted = sys.argv[sys.argv.index("--networks") + 1].split(",") if "--networks" in sys.argv else NETWORKS
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        compare(program, photo, folder, name, lines)


main()
