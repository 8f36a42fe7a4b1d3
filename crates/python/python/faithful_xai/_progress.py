"""Progress bars: tqdm's where it is installed (in notebooks too), a line on the terminal otherwise."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Optional, TypeAlias, Union

from ._packages import known

#: `True` for a bar; or a function that is called with the work done and the work expected, ten times a second.
Progress: TypeAlias = Union[bool, Callable[[int, int], object]]
_Heard: TypeAlias = Optional[Callable[[int, int], object]]


@contextmanager
def shown(progress: Progress, what: str) -> Iterator[_Heard]:
    """What hears of the progress, while the work goes on."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield None
        return
    tqdm = known("tqdm.auto")
    if tqdm is None:
        yield _line(what)
        print(file=sys.stderr)
        return
    bar = tqdm.tqdm(desc=what, unit="pass")

    def heard(done: int, expected: int) -> None:
        bar.total = expected
        bar.n = done
        bar.refresh()

    try:
        yield heard
    finally:
        bar.close()


def _line(what: str) -> Callable[[int, int], None]:
    def heard(done: int, expected: int) -> None:
        share = done / expected if expected else 0.0
        print(f"\r{what}: {share:4.0%} of {expected} passes", end="", file=sys.stderr, flush=True)

    return heard
