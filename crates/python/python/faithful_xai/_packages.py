"""Packages that only some functions need."""

from __future__ import annotations

import importlib
from typing import Any

from .errors import MissingPackageError


def needed(name: str, why: str) -> Any:
    """The package `name`; raises `MissingPackageError` with `why` where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(why) from error


def known(name: str) -> Any:
    """The package `name`, or nothing where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
