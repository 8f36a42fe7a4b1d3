"""The same work as crates/model/examples/speed.rs in PyTorch; `cargo xtask bench --peer PYTHON` talks to it.

Usage: python bench.py LAYOUT THREADS, where LAYOUT is contiguous_format or channels_last; or python bench.py export FILE.onnx,
which writes the network that the file is called after.
Each line of the standard input names some work, such as `vgg16 forward batch 8` or `cnn-bilstm forward batch 64`; for
`folder/efficientnet_b0.onnx` the network of torchvision that the file is called after runs. The answer is a line with the seconds per image or window (per explanation, for those). `peak-memory` answers with the most bytes that the process has held.
Weights are random: speed does not depend on them.
"""
import pathlib, resource, sys, time, warnings
import torch, torchvision
import torch.nn.functional as F

exporting = sys.argv[1] == "export"
layout = torch.contiguous_format if exporting else getattr(torch, sys.argv[1])
if not exporting:
    torch.set_num_threads(int(sys.argv[2]))
BATCH = 8
network, images, baselines, seen = (None, None), {}, None, set()


class Series(torch.nn.Module):
    """`SeriesNetwork` of crates/model for windows of 60 steps of 14 sensors; `cell` may be torch.nn.GRU."""

    def __init__(self, kernels, channels, hidden, layers, bidirectional, cell=torch.nn.LSTM):
        super().__init__()
        self.heads = torch.nn.ModuleList(torch.nn.ModuleDict({
            "conv1": torch.nn.Conv1d(14, channels, kernel, padding=kernel // 2),
            "conv2": torch.nn.Conv1d(channels, channels, kernel, padding=kernel // 2),
            "lstm": cell(channels, hidden, layers, batch_first=True, bidirectional=bidirectional),
        }) for kernel in kernels)
        states = len(kernels) * hidden * (2 if bidirectional else 1) * 12
        self.dense, self.output = torch.nn.Linear(states, 32), torch.nn.Linear(32, 1)

    def forward(self, x):
        states = []
        for head in self.heads:
            y = F.relu(head["conv2"](F.relu(head["conv1"](x))))
            states.append(head["lstm"](F.max_pool1d(y, 5).transpose(1, 2))[0].flatten(1))
        return self.output(F.relu(self.dense(torch.cat(states, 1))))


SERIES = {"cnn-lstm": ([5], 32, 32, 1, False), "cnn-bilstm": ([3, 7], 16, 16, 2, True),
          "cnn-gru": ([5], 32, 32, 1, False, torch.nn.GRU)}


def load(name):
    torch.manual_seed(0)
    name = pathlib.Path(name).stem
    if name in SERIES:
        net = Series(*SERIES[name]).eval()
    else:
        net = getattr(torchvision.models, name)(weights=None).eval().to(memory_format=layout)
    for p in net.parameters():
        p.requires_grad_(False)
    return net


def batch_of(net, count):
    shape = (count, 14, 60) if isinstance(net, Series) else (count, 3, 224, 224)
    if shape not in images:
        x = torch.randn(shape)
        images[shape] = x if isinstance(net, Series) else x.to(memory_format=layout)
    return images[shape]


def forward(net, count):
    with torch.no_grad():
        net(batch_of(net, count))


def forward_backward(net, count):
    x = batch_of(net, count).detach().requires_grad_(True)
    torch.autograd.grad(net(x)[:, 0 if isinstance(net, Series) else 5].sum(), x)


def expected_gradcam(net, draws):
    """Expected Grad-CAM at features[29], activation difference, baseline activations cached; untracked below the layer."""
    global baselines
    lower, upper = net.features[:30], net.features[30:]
    with torch.no_grad():
        if baselines is None:
            base = torch.randn(draws, 3, 224, 224).to(memory_format=layout)
            baselines = base, torch.cat([lower(base[i:i + BATCH]) for i in range(0, draws, BATCH)])
        base, acts = baselines
        x = batch_of(net, 1)
        act = lower(x)
    total = 0
    for i in range(0, draws, BATCH):
        xb = base[i:i + BATCH]
        alpha = torch.rand(len(xb), 1, 1, 1)
        with torch.no_grad():
            mid = lower(xb + alpha * (x - xb))
        mid.requires_grad_(True)
        y = net.classifier(net.avgpool(upper(mid)).flatten(1))[:, 5].sum()
        g = torch.autograd.grad(y, mid)[0]
        total = total + ((act - acts[i:i + BATCH]) * g).sum(0, keepdim=True)
    w = (total / draws).mean((2, 3), keepdim=True)
    return F.interpolate(F.relu((w * act).sum(1, keepdim=True)), x.shape[-2:], mode="bilinear")


def export(path):
    net = load(path)
    names = {"input_names": ["input"], "output_names": ["output"], "dynamic_axes": {"input": {0: "N"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (batch_of(net, 1),), path, opset_version=17, dynamo=False, **names)


if exporting:
    export(sys.argv[2])
    sys.exit()

for line in sys.stdin:
    line = line.strip()
    if line == "peak-memory":
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
        continue
    name, kind, *rest = line.split(" ")
    count = int(next(word for word in rest if word.isdigit()))
    if network[0] != name:
        network, baselines = (None, None), None
        network, seen = (name, load(name)), set()
    work = {"forward": forward, "forward+input-gradient": forward_backward, "expected-grad-cam": expected_gradcam}[kind]
    if line not in seen:
        work(network[1], count)
        seen.add(line)
    start = time.perf_counter()
    work(network[1], count)
    seconds = time.perf_counter() - start
    print(seconds if kind == "expected-grad-cam" else seconds / count, flush=True)
