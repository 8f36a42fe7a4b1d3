"""N-CMAPSS (Arias Chao et al. 2021) as tables that `faithful rul` reads: dev.parquet and test.parquet, a row per unit and flight.

    python ncmapss.py N-CMAPSS_DS01-005.h5 --out FOLDER

A row has `unit`, `cycle`, `rul`, `setting_class` (the flight class) and, for every measured sensor and every operating condition, its mean
over the flight's first, middle and last third (`T24_climb`, `T24_cruise`, `T24_descent`). Flights are read one after the other; memory is
that of one flight and of the columns unit, cycle and class."""

import argparse
import pathlib

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PARTS = ["climb", "cruise", "descent"]


def names(file, key):
    return [name.decode() if isinstance(name, bytes) else str(name) for name in np.array(file[key]).ravel()]


def rows(file, split):
    about, columns = file[f"A_{split}"][:], names(file, "A_var")
    unit, cycle, kind = (about[:, columns.index(name)].astype(int) for name in ["unit", "cycle", "Fc"])
    series = [(f"X_s_{split}", names(file, "X_s_var")), (f"W_{split}", names(file, "W_var"))]
    edges = np.flatnonzero((np.diff(unit) != 0) | (np.diff(cycle) != 0)) + 1
    for first, last in zip(np.r_[0, edges], np.r_[edges, len(unit)]):
        row = {"unit": str(unit[first]), "cycle": int(cycle[first]), "setting_class": int(kind[first])}
        row["rul"] = float(file[f"Y_{split}"][first].item())
        for key, sensors in series:
            thirds = np.array_split(file[key][first:last], 3)
            for part, values in zip(PARTS, thirds):
                means = values.mean(0) if len(values) else np.full(len(sensors), np.nan)
                row |= {f"{sensor}_{part}": float(mean) for sensor, mean in zip(sensors, means)}
        yield row


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with h5py.File(options.file) as file:
        for split in ["dev", "test"]:
            table = pa.Table.from_pylist(list(rows(file, split)))
            pq.write_table(table, options.out / f"{split}.parquet")
            print(f"{options.out / f'{split}.parquet'}: {table.num_rows} flights")
