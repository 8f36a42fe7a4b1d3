"""Whether a network needs what is inside the boxes: the predicted class with the box filled, and with a box as large elsewhere.

    python boxes.py NETWORK.onnx PHOTOS BOXES

PHOTOS and BOXES are folders; a box picture is called as its photo and white inside. Pictures are as large as the network takes them, values from
0 to 1, channels last or second. What is filled gets the mean colour of what is not dark. Needs numpy, Pillow and onnxruntime.
"""
import pathlib, sys

import numpy as np
import onnxruntime
from PIL import Image


def square(picture, side):
    scale = side / min(picture.size)
    picture = picture.resize([round(size * scale) for size in picture.size], Image.BICUBIC)
    left, top = [(size - side) // 2 for size in picture.size]
    return np.asarray(picture.crop((left, top, left + side, top + side)), np.float32) / 255


def main():
    model, photos, boxes = sys.argv[1:]
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    last = given.shape[3] == 3
    side = given.shape[1] if last else given.shape[2]
    run = lambda x: session.run(None, {given.name: (x if last else x.transpose(2, 0, 1))[None]})[0][0]
    masks = {path.stem: path for path in pathlib.Path(boxes).rglob("*.png")}
    random = np.random.default_rng(0)
    falls, kept, elsewhere, kept_elsewhere = [], [], [], []
    for path in sorted(pathlib.Path(photos).rglob("*.jpg")):
        if path.stem not in masks:
            continue
        x = square(Image.open(path).convert("RGB"), side)
        box = square(Image.open(masks[path.stem]).convert("L"), side) > 0.5
        bright = x.mean(2) > 0.1
        fill = x[bright].mean(0)
        own = run(x)
        best = own.argmax()
        hidden = x.copy()
        hidden[box] = fill
        without = run(hidden)
        falls.append(own[best] - without[best])
        kept.append(without.argmax() == best)
        rows, columns = [np.ptp(places) + 1 for places in np.where(box)]
        others = []
        for _ in range(200):
            top, left = random.integers(0, side - rows + 1), random.integers(0, side - columns + 1)
            part = np.s_[top:top + rows, left:left + columns]
            if box[part].any() or bright[part].mean() < 0.8 or len(others) == 5:
                continue
            hidden = x.copy()
            hidden[part] = fill
            others.append(run(hidden))
        elsewhere += [own[best] - other[best] for other in others]
        kept_elsewhere += [other.argmax() == best for other in others]
    print(f"{len(falls)} pictures: without the box the class falls by {np.mean(falls):.3f} and is kept by {np.mean(kept):.0%}; "
          f"without one of {len(elsewhere)} boxes elsewhere by {np.mean(elsewhere):.3f}, kept by {np.mean(kept_elsewhere):.0%}")


if __name__ == "__main__":
    main()
