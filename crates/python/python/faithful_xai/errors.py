"""Exceptions. Every one is a `FaithfulError`, and the builtin exception that it is a kind of."""

from __future__ import annotations

__all__ = [
    "ArgumentTypeError",
    "CancelledError",
    "ClosedError",
    "FaithfulError",
    "FaithfulWarning",
    "FileError",
    "ForkedError",
    "FormatError",
    "InternalError",
    "MissingPackageError",
    "NotFiniteError",
    "ParameterError",
    "ShapeError",
    "UnknownLayerError",
    "UnknownNameError",
    "UnsupportedError",
]


class FaithfulError(Exception):
    """What this package raises."""


class ArgumentTypeError(FaithfulError, TypeError):
    """An argument is of a type, or an array of a dtype, that means nothing here."""


class ShapeError(FaithfulError, ValueError):
    """An array has another shape than is needed."""


class ParameterError(FaithfulError, ValueError):
    """A parameter is outside its range, or means nothing for the method."""


class UnknownNameError(FaithfulError, LookupError):
    """A method, class, metric, option or model that is not there; the text says what may have been meant."""


class UnknownLayerError(UnknownNameError):
    """The network has no layer of that name."""


class NotFiniteError(FaithfulError, ValueError):
    """NaN or infinity; the text says where it was first seen."""


class UnsupportedError(FaithfulError, NotImplementedError):
    """The network uses operations that are not implemented, or the method cannot explain it."""


class FormatError(FaithfulError, ValueError):
    """A file does not hold what it should."""


class FileError(FaithfulError, OSError):
    """A file could not be read or written."""


class CancelledError(FaithfulError, RuntimeError):
    """The work was called off."""


class ClosedError(FaithfulError, RuntimeError):
    """The network was closed."""


class ForkedError(FaithfulError, RuntimeError):
    """The process was forked in the middle of a computation."""


class MissingPackageError(FaithfulError, ImportError):
    """A package that this function needs is not installed."""


class InternalError(FaithfulError, RuntimeError):
    """A defect of this package, whatever the input was."""


class FaithfulWarning(UserWarning):
    """Something that went well but should be known."""
