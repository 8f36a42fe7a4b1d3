"""The forward passes of crates/model/examples/speed.rs in ONNX Runtime and OpenVINO; `cargo xtask bench --peer PYTHON --against
onnxruntime,openvino` talks to it.

Usage: python runtimes.py RUNTIME THREADS FOLDER. Each line of the standard input names some work, such as `vgg16 forward batch 8` or
`net.onnx forward batch 1`; the answer is a line with the seconds per image or window, or `nan` for work that the runtime does not do, as
gradients. A network that is no file is written to the folder first (bench.py export), by a process of its own whose memory does
not count. `peak-memory` answers with the most bytes that the process has held. Weights are random: speed does not depend on them.
"""
import pathlib, resource, subprocess, sys, time
import numpy as np

runtime, threads, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
loaded, inputs, seen = {}, {}, set()


def file_of(name):
    if name.endswith(".onnx"):
        return name
    path = folder / f"{name}.onnx"
    if not path.exists():
        export = [sys.executable, str(pathlib.Path(__file__).with_name("bench.py")), "export", str(path)]
        subprocess.run(export, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return str(path)


def in_onnxruntime(path, count, size):
    import onnxruntime
    if path not in loaded:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        loaded.clear()
        loaded[path] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    session = loaded[path]
    first = session.get_inputs()[0]
    x = batch_of(first.shape[1:], count, size)
    return lambda: session.run(None, {first.name: x})


def in_openvino(path, count, size):
    import openvino
    model = None
    if (path, count, size) not in loaded:
        model = openvino.Core().read_model(path)
        shape = [count] + [d.get_length() for d in model.inputs[0].partial_shape][1:]
        shape = batch_of(shape[1:], count, size).shape
        model.reshape(list(shape))
        rules = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(model, "CPU", rules)
        loaded.clear()
        loaded[path, count, size] = compiled, compiled.create_infer_request(), shape
    _, request, shape = loaded[path, count, size]
    x = batch_of(shape[1:], count, size)
    return lambda: request.infer({0: x})


def batch_of(shape, count, size):
    shape = (count, *shape) if size is None else (count, shape[0], size, size)
    if shape not in inputs:
        inputs[shape] = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return inputs[shape]


for line in sys.stdin:
    line = line.strip()
    if line == "peak-memory":
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
        continue
    name, kind, *rest = line.split(" ")
    if kind != "forward":
        print("nan", flush=True)
        continue
    count = int(rest[rest.index("batch") + 1])
    size = int(rest[rest.index("size") + 1]) if "size" in rest else None
    work = {"onnxruntime": in_onnxruntime, "openvino": in_openvino}[runtime](file_of(name), count, size)
    if line not in seen:
        work()
        seen.add(line)
    start = time.perf_counter()
    work()
    print((time.perf_counter() - start) / count, flush=True)
