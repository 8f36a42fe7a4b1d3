"""Opens a run's Parquet with pandas, polars and DuckDB, those that this Python has, and prints what each makes of it.

    python parquet.py ROWS.parquet

Each reader's line is its name, the types of the columns, and the mean of every method and metric; `cargo xtask parquet-check` holds
them against the types that docs/runs.md names and against the run's own table.
"""

import importlib
import json
import sys

path = sys.argv[1]


def pandas(module):
    frame = module.read_parquet(path)
    types = {name: str(kind) for name, kind in frame.dtypes.items()}
    means = frame.dropna(subset="value").groupby(["method", "metric"])["value"].mean()
    curve = frame[frame["metric"] == "insertion"]["curve_score"].iloc[0]
    return types, {"/".join(key): value for key, value in means.items()}, list(curve)


def polars(module):
    frame = module.read_parquet(path)
    types = {name: str(kind) for name, kind in frame.schema.items()}
    means = frame.drop_nulls("value").group_by("method", "metric").agg(module.col("value").mean())
    curve = frame.filter(module.col("metric") == "insertion")["curve_score"][0]
    return types, {f"{method}/{metric}": value for method, metric, value in means.rows()}, list(curve)


def duckdb(module):
    rows = module.read_parquet(path)
    types = dict(zip(rows.columns, map(str, rows.types)))
    means = module.sql(f"select method, metric, avg(value) from '{path}' where value is not null group by all").fetchall()
    curve = module.sql(f"select curve_score from '{path}' where metric = 'insertion' limit 1").fetchall()[0][0]
    return types, {f"{method}/{metric}": value for method, metric, value in means}, list(curve)


for read in [pandas, polars, duckdb]:
    try:
        module = importlib.import_module(read.__name__)
    except ImportError:
        continue
    types, means, curve = read(module)
    line = {"reader": read.__name__, "version": module.__version__, "types": types, "means": means, "points": len(curve)}
    print(json.dumps(line), flush=True)
