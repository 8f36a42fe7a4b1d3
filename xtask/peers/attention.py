"""Maps of transformers' attention, compared with PyTorch's.

    python attention.py FAITHFUL PHOTO FOLDER LINES [--networks a,b]
    python attention.py table LINES            makes docs/results/attention.md's table

FAITHFUL is the program, PHOTO a photo, FOLDER where networks and maps go, LINES a file to which a JSON line is added for each network, exporter and
method. Networks are torchvision's and timm's with seeded random weights. The methods are written here once more from their papers, with
PyTorch's autograd; maps are compared by the largest difference as a share of the map's largest value. Needs torch, torchvision, timm,
onnx, onnxscript, numpy, pillow.
"""
import contextlib, json, pathlib, subprocess, sys, zlib

import numpy as np
import torch
import torch.nn.functional as F

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
NETWORKS = ["vit_b_16", "deit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "beit_base_patch16_224", "eva02_tiny_patch14_224",
            "vit_base_patch16_clip_224", "vit_base_patch16_siglip_224", "levit_128s", "swin_t", "swin_v2_t"]
METHODS = ["attention-rollout", "attention-relevance", "legrad", "attn-lrp", "libra-grad"]


@contextlib.contextmanager
def replaced(*changes):
    """Attributes that are others for a while."""
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    try:
        for owner, name, new in changes:
            setattr(owner, name, new)
        yield
    finally:
        for owner, name, old in before:
            setattr(owner, name, old)


@contextlib.contextmanager
def seen_attention():
    """The probabilities of every attention that runs meanwhile, `(N, heads, queries, keys)`, in their order."""
    kept = []
    softmax, of_tensor = torch.softmax, torch.Tensor.softmax

    def keep(scores, dim, *rest, **named):
        found = softmax(scores, dim, *rest, **named)
        if found.dim() in (3, 4) and found.requires_grad:
            found.retain_grad()
            kept.append(found)
        return found

    def attend(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_):
        scores = q @ k.transpose(-2, -1) * (scale or q.shape[-1] ** -0.5)
        return keep(scores if attn_mask is None else scores + attn_mask, -1) @ v

    with replaced((F, "scaled_dot_product_attention", attend), (torch.Tensor, "softmax", keep), (F, "softmax", keep)):
        yield kept
    assert torch.Tensor.softmax is of_tensor


def rows_read(net, queries):
    """Which of the last attention's queries the outputs read, as shares of one."""
    weights = torch.zeros(queries)
    if queries == 1:
        weights[0] = 1
    elif hasattr(net, "head_dist") and net.head_dist is not None:
        weights[:2] = 0.5
    elif getattr(net, "global_pool", "token") == "token":
        weights[0] = 1
    else:
        prefix = getattr(net, "num_prefix_tokens", 0)
        weights[prefix:] = 1 / (queries - prefix)
    return weights


def rollout(net, x, score):
    with seen_attention() as attentions:
        net(x.clone().requires_grad_())
    product = torch.eye(attentions[0].shape[-1])
    for attention in attentions:
        mean = attention[0].mean(0).detach()
        square = mean.shape[0] == mean.shape[1]
        product = ((mean + torch.eye(mean.shape[0])) / 2 if square else mean) @ product
    return rows_read(net, product.shape[0]) @ product


def relevance(net, x, score):
    with seen_attention() as attentions:
        score(net(x.clone().requires_grad_())).backward()
    product = torch.eye(attentions[0].shape[-1])
    for attention in attentions:
        change = (attention.grad * attention)[0].clamp(min=0).mean(0).detach()
        product = change @ product + (product if change.shape[0] == change.shape[1] else 0)
    return rows_read(net, product.shape[0]) @ product


def blocks_of(net):
    return list(net.encoder.layers) if hasattr(net, "encoder") else list(net.blocks)


def head_of(net, tokens):
    """The scores of tokens `(1, C)` that stand for the pooled ones, or of all `(1, T, C)` where attention pools them."""
    if hasattr(net, "encoder"):
        return net.heads(net.encoder.ln(tokens))
    if getattr(net, "attn_pool", None) is not None:
        return net.head(net.fc_norm(net.attn_pool(net.norm(tokens))))
    tokens = net.fc_norm(net.norm(tokens)) if getattr(net, "fc_norm", None) is not None else net.norm(tokens)
    if getattr(net, "head_dist", None) is not None:
        return (net.head(tokens) + net.head_dist(tokens)) / 2
    return net.head(tokens)


def legrad(net, x, score):
    tokens = []
    handles = [block.register_forward_hook(lambda m, i, out: tokens.append(out)) for block in blocks_of(net)]
    with seen_attention() as attentions:
        net(x.clone().requires_grad_())
    for handle in handles:
        handle.remove()
    total = 0
    for z, attention in zip(tokens, attentions):
        if getattr(net, "attn_pool", None) is not None:
            with seen_attention() as pooling:
                value = score(head_of(net, z))
            attention = pooling[-1]
        else:
            value = score(head_of(net, z.mean(1)))
        gradient = torch.autograd.grad(value, attention, retain_graph=True)[0]
        total = total + gradient[0].clamp(min=0).mean((0, 1)) / len(tokens)
    return total


class Half(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient / 2


def identity_rule(function):
    """Passes relevance on: `f(x) / x` in the derivative's place."""
    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = function(x)
            ctx.save_for_backward(y / (x + 1e-10))
            return y

        @staticmethod
        def backward(ctx, gradient):
            return gradient * ctx.saved_tensors[0]
    return lambda x, *_, **__: Rule.apply(x)


@contextlib.contextmanager
def attn_lrp_rules(weights_are_given=False):
    """Achtibat et al. 2024, as gradients whose product with the input is relevance; Mehri et al. 2025 where attention weights are given."""
    def halved(function):
        def product(a, b):
            if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.requires_grad and b.requires_grad:
                a, b = Half.apply(a), Half.apply(b)
            return function(a, b)
        return product

    def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
        axes = tuple(range(-len(shape), 0))
        centred = x - x.mean(axes, keepdim=True)
        y = centred / (centred.square().mean(axes, keepdim=True) + eps).sqrt().detach()
        y = y if weight is None else y * weight
        return y if bias is None else y + bias

    def normalize(x, p=2.0, dim=1, eps=1e-12, out=None):
        return x / x.norm(p, dim, keepdim=True).clamp_min(eps).detach()

    def attend(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, **_):
        scores = q @ k.transpose(-2, -1) * (scale or q.shape[-1] ** -0.5)
        return (scores if attn_mask is None else scores + attn_mask).softmax(-1) @ v

    def softmax(function):
        return (lambda *rest, **named: function(*rest, **named).detach()) if weights_are_given else function

    with replaced((F, "softmax", softmax(F.softmax)), (torch.Tensor, "softmax", softmax(torch.Tensor.softmax)),
                  (F, "scaled_dot_product_attention", attend), (F, "layer_norm", layer_norm), (F, "normalize", normalize),
                  (F, "gelu", identity_rule(F.gelu)), (F, "silu", identity_rule(F.silu)), (F, "hardswish", identity_rule(F.hardswish)),
                  (torch.Tensor, "__matmul__", halved(torch.Tensor.__matmul__)), (torch.Tensor, "matmul", halved(torch.Tensor.matmul)),
                  (torch.Tensor, "__mul__", halved(torch.Tensor.__mul__))):
        yield


def attn_lrp(net, x, score, weights_are_given=False):
    with attn_lrp_rules(weights_are_given):
        x = x.clone().requires_grad_()
        score(net(x)).backward()
    return (x * x.grad)[0].detach()


def libra_grad(net, x, score):
    return attn_lrp(net, x, score, weights_are_given=True)


AT_INPUT = ["attn-lrp", "libra-grad"]
REFERENCES = {"attention-rollout": rollout, "attention-relevance": relevance, "legrad": legrad, "attn-lrp": attn_lrp, "libra-grad": libra_grad}


def grid(net, tokens, side):
    """Tokens without those before the patches, in rows and columns."""
    size = next(s for s in range(side, 0, -1) if side % s == 0 and 0 <= len(tokens) - s * s < 9 and s * s > 1)
    return tokens[len(tokens) - size * size:].reshape(size, size)


def seeded(net, name):
    """Random weights, larger where they would leave attention even."""
    torch.manual_seed(zlib.crc32(name.encode()))
    for key, parameter in net.named_parameters():
        parameter.requires_grad_(False)
        if key.endswith(("gamma_1", "gamma_2", "ls1.gamma", "ls2.gamma")):
            parameter.uniform_(0.3, 1)
        elif parameter.dim() > 1:
            parameter.normal_(0, 1.2 / parameter[0].numel() ** 0.5 if parameter.dim() != 3 else 0.3)
        elif "weight" not in key and "scale" not in key:
            parameter.normal_(0, 0.05)
    return net.eval()


def network(name):
    import timm, torchvision
    models = torchvision.models
    if hasattr(models, name):
        return seeded(getattr(models, name)(weights=None), name)
    # The older exporter cannot write the fused attention of EVA.
    timm.layers.set_fused_attn(not name.startswith("eva"))
    return seeded(timm.create_model(name, pretrained=False), name)


def exported(net, path, size, exporter):
    x = torch.zeros(1, 3, size, size)
    if exporter == "script":
        torch.onnx.export(net, (x,), str(path), dynamo=False, input_names=["x"], output_names=["y"], opset_version=17,
                          dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})
    else:
        torch.onnx.export(net, (x,), str(path), dynamo=True, external_data=False, verbose=False, input_names=["x"], output_names=["y"])


def ours(program, model, photo, method, folder, category):
    command = [program, "explain", str(photo), "--model", str(model), "--out", str(folder), "--json", "--method", method,
               "--class", str(category)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return next(line for line in done.stderr.splitlines() if "error" in line), None
    line = json.loads(done.stdout.splitlines()[-1])
    return line, np.load(line["files"]["map"])


def compare(program, photo, folder, name, lines):
    from PIL import Image
    net = network(name)
    side = {"eva02_tiny_patch14_224": 224, "swin_v2_t": 256}.get(name, 224)
    picture = Image.open(photo).convert("RGB").resize((side, side))
    small = folder / f"photo{side}.png"
    picture.save(small)
    array = np.asarray(picture, dtype=np.float32) / 255
    x = torch.tensor(((array - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)[None]).contiguous()
    with torch.no_grad():
        category = int(net(x)[0].argmax())
    for exporter in ("script", "dynamo"):
        path = folder / f"{name}.{exporter}.onnx"
        if not path.exists():
            exported(net, path, side, exporter)
        about = {"input_size": [side, side], "fit": "stretch", "mean": MEAN, "std": STD}
        path.with_suffix(".json").write_text(json.dumps(about))
        for method in METHODS:
            line, own = ours(program, path, small, method, folder / "maps", category)
            found = {"network": name, "exporter": exporter, "method": method}
            if own is None:
                found["refused"] = line
            else:
                map = REFERENCES[method](net, x, lambda out: out[0, category])
                map = (map.sum(0) if method in AT_INPUT else grid(net, map, side)).detach().numpy()
                found["difference"] = float(np.abs(map - own).max() / np.abs(map).max()) if map.shape == own.shape else str(own.shape)
            print(json.dumps(found), flush=True)
            with open(lines, "a") as file:
                file.write(json.dumps(found) + "\n")


def table(lines):
    rows = {}
    for line in open(lines):
        row = json.loads(line)
        said = "refused" if "refused" in row else f"{row['difference']:.1e}"
        rows.setdefault((row["network"], row["exporter"]), {})[row["method"]] = said
    print("| network | exporter | " + " | ".join(f"`{m}`" for m in METHODS) + " |\n|---|---|" + "---:|" * len(METHODS))
    for (name, exporter), row in rows.items():
        print(f"| `{name}` | {exporter} | " + " | ".join(row.get(m, "") for m in METHODS) + " |")


def main():
    # The fused attention of PyTorch's own layers is no operation that its exporters write, nor one that is looked into here.
    torch.backends.mha.set_fastpath_enabled(False)
    if sys.argv[1] == "table":
        return table(sys.argv[2])
    program, photo, folder, lines = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4]
    wanted = sys.argv[sys.argv.index("--networks") + 1].split(",") if "--networks" in sys.argv else NETWORKS
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        compare(program, photo, folder, name, lines)


if __name__ == "__main__":
    main()
