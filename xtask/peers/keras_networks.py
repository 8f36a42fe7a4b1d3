"""Networks of Keras 3 as tf2onnx writes them, compared with ONNX Runtime.

    python keras_networks.py export FOLDER [NAME...]   writes each as ONNX, with an input and ONNX Runtime's output
    python keras_networks.py table FOLDER LINES        makes a table; LINES is what crates/model/examples/networks.rs says of FOLDER

Weights are random and seeded; statistics and scales of normalisations are drawn too, so that a wrong one is seen. The classifier's
softmax stays, so inputs of these files end in probabilities. Needs tensorflow, tf2onnx, onnxruntime and safetensors.
"""
import json, pathlib, sys, warnings, zlib

# Sides of the pictures; smaller than usual where that leaves the last maps some places.
APPLICATIONS = {
    "VGG16": 64, "VGG19": 64, "ResNet50": 64, "ResNet101V2": 64, "ResNet50V2": 64, "MobileNet": 64, "MobileNetV2": 64,
    "MobileNetV3Small": 64, "MobileNetV3Large": 64, "DenseNet121": 64, "NASNetMobile": 96, "EfficientNetB0": 64,
    "EfficientNetV2B0": 64, "InceptionV3": 96, "InceptionResNetV2": 96, "Xception": 96, "ConvNeXtTiny": 64,
}


def recurrent(keras):
    layers = keras.layers
    return keras.Sequential([
        keras.Input((30, 6)), layers.Conv1D(16, 3, padding="same", activation="relu"), layers.Bidirectional(layers.LSTM(8, return_sequences=True)),
        layers.GRU(8, return_sequences=True), layers.SimpleRNN(8), layers.Dense(3, activation="softmax"),
    ])


def network(name):
    import keras, numpy as np
    keras.utils.set_random_seed(zlib.crc32(name.encode()) % 2**31)
    if name == "recurrent":
        net = recurrent(keras)
    else:
        side = APPLICATIONS[name]
        net = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=10)
    random = np.random.default_rng(1)
    for weight in net.weights:
        key, shape = weight.path.rsplit("/", 1)[-1], tuple(weight.shape)
        if key in ("moving_mean", "beta", "bias"):
            weight.assign(random.normal(0, 0.1, shape))
        elif key in ("moving_variance", "gamma"):
            weight.assign(random.uniform(0.7, 1.4, shape))
    return net


def export(folder, name):
    import numpy as np, onnxruntime
    from safetensors.numpy import save_file
    stem = folder / name
    if stem.with_suffix(".safetensors").exists():
        return
    try:
        net = network(name)
        pictures = np.random.default_rng(2).standard_normal((2, *net.input_shape[1:]), dtype=np.float32)
        # A network that was never called cannot be exported.
        own = net.predict(pictures, verbose=0)
        net.export(str(stem.with_suffix(".onnx")), format="onnx", verbose=False)
        session = onnxruntime.InferenceSession(str(stem.with_suffix(".onnx")), providers=["CPUExecutionProvider"])
        output = session.run(None, {session.get_inputs()[0].name: pictures})[0]
        save_file({"input": pictures, "output": output}, str(stem.with_suffix(".safetensors")))
        print(f"{name}: ONNX Runtime and Keras differ by {np.abs(own - output).max():.1e}, largest probability {output.max():.2f}", flush=True)
    except Exception as error:
        stem.with_suffix(".onnx").unlink(missing_ok=True)
        stem.with_suffix(".failed").write_text(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}\n")
        print(f"{name}: {type(error).__name__}: {str(error)[:200]}", flush=True)


def table(folder, lines):
    found = {one["name"]: one for one in map(json.loads, open(lines)) if one}
    print("| network | difference to ONNX Runtime | explained layer |\n|---|---|---|")
    for name in [*APPLICATIONS, "recurrent"]:
        if name in found:
            one = found[name]
            text = f"refused: {one['error']}" if "error" in one else f"{one['difference']:.0e}"
            print(f"| {name} | {text} | {one.get('layer') or ''} |")
        elif (folder / f"{name}.failed").exists():
            print(f"| {name} | not exported | |")


def main():
    warnings.filterwarnings("ignore")
    if sys.argv[1:2] == ["export"] and len(sys.argv) > 2:
        folder = pathlib.Path(sys.argv[2])
        folder.mkdir(parents=True, exist_ok=True)
        for name in sys.argv[3:] or [*APPLICATIONS, "recurrent"]:
            export(folder, name)
    elif sys.argv[1:2] == ["table"] and len(sys.argv) == 4:
        table(pathlib.Path(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
