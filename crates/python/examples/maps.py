"""A map of a photo, on the photo: `python maps.py photo.png`."""

from __future__ import annotations

import sys

import faithful_xai as fx


def main(photo: str) -> None:
    """Predicts, explains, and writes the picture."""
    with fx.load() as net:
        for place, label, probability in net.predict(photo).top(3)[0]:
            print(f"{place:4} {label:24} {probability:.3f}")
        found = net.explain(photo, method="expected-grad-cam", draws=16)
        found.save("map.png")
        print(f"{found.labels[0]}: map.png, at layer {found.layer}")


if __name__ == "__main__":
    main(sys.argv[1])
