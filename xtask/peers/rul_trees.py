"""Gradient-boosted trees (LightGBM) on C-MAPSS: the peer of `faithful rul train`, on the same folds, windows and normalised readings.

    python rul_trees.py CMAPSS_FOLDER MODEL.json [MODEL.json ...]

MODEL.json lies beside the weights of a network whose members left out machines of their own (`training.left_out`). The sensors, the
operating conditions and their means are the network's; per window every sensor has its exponential means (shares 0.3, 0.1 and 0.03),
their changes over 10, 20 and 40 cycles, and the window's deviation, lowest and highest value. Prints a line per set: the error by
cross-validation over machines, at the windows that the network's `validation` is of, and the error of the folds' mean on the last
windows of the test machines. One setting for all sets, chosen beforehand; test machines choose nothing."""

import json
import pathlib
import sys
import time

import lightgbm
import numpy as np

SETTINGS = ["altitude", "mach", "tra"]
SENSORS = (
    "T2 T24 T30 T50 P2 P15 P30 Nf Nc epr Ps30 phi NRf NRc BPR farB htBleed Nf_dmd PCNfR_dmd W31 W32".split()
)
SHARES = [0.3, 0.1, 0.03]
BACK = [10, 20, 40]
OPTIONS = dict(
    objective="regression", learning_rate=0.03, num_leaves=31, min_child_samples=50, subsample=0.7, subsample_freq=1,
    colsample_bytree=0.5, reg_lambda=5.0, n_estimators=400, verbose=-1,
)


def engines(file):
    table = np.loadtxt(file)
    return [table[table[:, 0] == unit] for unit in np.unique(table[:, 0])]


def prepared(engine, preparation):
    """Readings of the kept sensors, standardised in each cycle's condition."""
    conditions = preparation["conditions"]
    centres = np.array([c["centre"] for c in conditions])
    settings = engine[:, [2 + SETTINGS.index(name) for name in preparation["settings"]]] / preparation["setting_scale"]
    labels = ((settings[:, None] - centres[None]) ** 2).sum(2).argmin(1) if len(conditions) > 1 else np.zeros(len(engine), int)
    mean = np.array([c["mean"] for c in conditions])[labels]
    std = np.array([c["std"] for c in conditions])[labels]
    return (engine[:, [column(name) for name in preparation["sensors"]]] - mean) / std


def column(name):
    """Where a sensor stands in the file; `cycle` is how many cycles the engine has run."""
    return 1 if name == "cycle" else 5 + SENSORS.index(name)


def exponential(values, share):
    out, mean, weight = np.empty_like(values), np.zeros(values.shape[1]), 0.0
    for place, row in enumerate(values):
        mean, weight = (1 - share) * mean + share * row, (1 - share) * weight + share
        out[place] = mean / weight
    return out


def features(values, ends, window):
    """A row per window that ends at one of `ends`."""
    means = [exponential(values, share) for share in SHARES]
    rows = []
    for end in ends:
        own = [mean[end] for mean in means]
        own += [means[1][end] - means[1][max(end - back, 0)] for back in BACK]
        part = means[0][max(end + 1 - window, 0) : end + 1]
        rows.append(np.concatenate(own + [part.std(0), part.min(0), part.max(0)]))
    return np.array(rows)


def rmse(predicted, true):
    return float(np.sqrt(np.mean((predicted - true) ** 2)))


def nasa(predicted, true):
    error = predicted - true
    return float(np.where(error < 0, np.exp(-error / 13) - 1, np.exp(error / 10) - 1).sum())


def one(folder, model):
    about = json.loads(pathlib.Path(model).read_text())
    preparation, training = about["preparation"], about["training"]
    name = about["trained_on"].removeprefix("train_")
    cap, window, shortest = preparation["cap"], preparation["window"], preparation["shortest"]
    fold = {unit: place for place, units in enumerate(training["left_out"]) for unit in units}
    apart = int(np.ceil(1.2 * cap / 24))
    learnt, judged = [], []
    for engine in engines(folder / f"train_{name}.txt"):
        values, last, own = prepared(engine, preparation), len(engine) - 1, fold[str(int(engine[0, 0]))]
        for rows, step in [(learnt, training["stride"]), (judged, apart)]:
            ends = np.arange(last, shortest - 2, -step)
            if rows is judged:
                ends = ends[last - ends <= 1.2 * cap]
            rows.append((features(values, ends, window), np.minimum(last - ends, cap), np.full(len(ends), own)))
    x, y, folds = (np.concatenate([row[part] for row in learnt]) for part in range(3))
    xj, yj, foldj = (np.concatenate([row[part] for row in judged]) for part in range(3))
    tests = engines(folder / f"test_{name}.txt")
    xt = np.concatenate([features(prepared(e, preparation), [len(e) - 1], window) for e in tests])
    yt = np.minimum(np.loadtxt(folder / f"RUL_{name}.txt"), cap)
    start, crossed, test = time.time(), np.empty(len(yj)), np.zeros(len(yt))
    for left in range(len(training["left_out"])):
        trees = lightgbm.LGBMRegressor(**OPTIONS, random_state=training["seed"], n_jobs=1)
        trees.fit(x[folds != left], y[folds != left])
        own = foldj == left
        crossed[own] = np.clip(trees.predict(xj[own]), 0, cap)
        test += np.clip(trees.predict(xt), 0, cap) / len(training["left_out"])
    found = {
        "set": name, "crossed_rmse": rmse(crossed, yj), "windows": len(yj), "test_rmse": rmse(test, yt),
        "test_mae": float(np.abs(test - yt).mean()), "test_nasa": nasa(test, yt), "seconds": round(time.time() - start, 1),
        "network_crossed_rmse": (about["validation"] or {}).get("rmse"),
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    for model in sys.argv[2:]:
        one(pathlib.Path(sys.argv[1]), model)
