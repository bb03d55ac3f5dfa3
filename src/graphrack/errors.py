"""Every error that graphrack raises on purpose.

    GraphrackError
    ├── FileError (OSError)              a file or folder is missing, unreadable or not writable
    │   └── CorruptFile (ValueError)     its bytes are not what its format says
    │       └── CorruptCheckpoint        … of a checkpoint: names the tensor, the file, the offset
    ├── UnknownName (KeyError)           no tensor, operation, variable, signature or model of that name
    ├── AmbiguousOutput (ValueError)     a call that could mean several outputs
    ├── FeedError (ValueError)           a feed's dtype or shape doesn't fit, or a feed is missing
    ├── RestoreError (ValueError)        a checkpoint doesn't fit the model's variables
    ├── UninitializedError (RuntimeError)  variables or tables without values are read
    ├── GraphError (ValueError)          the graph contradicts itself: cycles, dangling inputs, bad attributes
    ├── UnsupportedOp (NotImplementedError)  a plan needs ops or dtypes that graphrack lacks
    ├── MissingDependency (ImportError)  an engine was asked for whose package isn't installed
    ├── UnsupportedSource (TypeError)    nothing that can be saved from, or restored into
    ├── PermissionDenied (PermissionError)   the graph would touch files or the network unasked
    ├── OpError (RuntimeError, ValueError)   an op failed while running: names node, op, inputs
    └── RackErrors (ExceptionGroup)      some models of a rack failed: the others' results are on it

A message names the thing, says what was found and what was expected, and what to do.

There is one warning: FallbackWarning (UserWarning), where TensorFlow runs what graphrack can't.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

__all__ = [
    "AmbiguousOutput",
    "CorruptCheckpoint",
    "CorruptFile",
    "FallbackWarning",
    "FeedError",
    "FileError",
    "GraphError",
    "GraphrackError",
    "MissingDependency",
    "OpError",
    "PermissionDenied",
    "RackErrors",
    "RestoreError",
    "UninitializedError",
    "UnknownName",
    "UnsupportedOp",
    "UnsupportedSource",
]


class GraphrackError(Exception):
    """Base of every error that graphrack raises on purpose."""

    def __str__(self) -> str:
        # KeyError would show the message's repr, OSError its errno form.
        return str(self.args[0]) if self.args else ""


class FileError(GraphrackError, OSError):
    """A file or folder is missing, unreadable or not writable."""


class CorruptFile(FileError, ValueError):
    """A file's bytes are not what its format says."""


class CorruptCheckpoint(CorruptFile):
    """A checkpoint's bytes are not what its index or its checksums say."""


class UnknownName(GraphrackError, KeyError):
    """No tensor, operation, variable, signature or model has that name."""


class AmbiguousOutput(GraphrackError, ValueError):
    """A call could mean several outputs; the message lists them."""


class FeedError(GraphrackError, ValueError):
    """A feed's dtype or shape doesn't fit its tensor, or a needed feed is missing."""


class RestoreError(GraphrackError, ValueError):
    """A checkpoint doesn't fit the model's variables; the message names each of them."""


class UninitializedError(GraphrackError, RuntimeError):
    """Variables or tables are read that have no values yet."""


class GraphError(GraphrackError, ValueError):
    """The graph contradicts itself: cycles, inputs that don't exist, attributes of the wrong kind."""


class UnsupportedOp(GraphrackError, NotImplementedError):
    """A plan needs ops that graphrack doesn't have; the message names every one and its nodes."""


class MissingDependency(GraphrackError, ImportError):
    """An engine was asked for whose package isn't installed; the message says how to install it."""


class UnsupportedSource(GraphrackError, TypeError):
    """What was given is nothing that can be saved from, or restored into; the message says what is."""


class PermissionDenied(GraphrackError, PermissionError):
    """The graph would touch files or the network, and the caller has not allowed it."""


class OpError(GraphrackError, RuntimeError, ValueError):
    """An op failed while running; the message names the node, its op and what its inputs were."""


class RackErrors(ExceptionGroup[Exception], GraphrackError):
    """Some models of a rack failed; `results` has what the others gave, by name."""

    results: Mapping[str, Any]

    def __new__(cls, message: str, errors: Sequence[Exception], results: Mapping[str, Any]) -> RackErrors:
        """Makes the group; `results` by model name."""
        self = super().__new__(cls, message, errors)
        self.results = results
        return self

    def derive(self, excs: Sequence[Exception]) -> RackErrors:  # type: ignore[override]
        """A group of only these errors, with the same results."""
        return RackErrors(self.message, excs, self.results)

    def __str__(self) -> str:
        return ExceptionGroup.__str__(self)


class FallbackWarning(UserWarning):
    """TensorFlow runs what graphrack has no ops for, since the model's engine is `auto`; said once for each graph."""


def closest(name: str, names: Iterable[str], limit: int = 5) -> str:
    """The end of a message about an unknown name: the closest names there are, or all if few."""
    import difflib

    known = list(names)
    near = difflib.get_close_matches(name, known, n=limit, cutoff=0.5) if len(known) <= 20_000 else []
    if not near:
        low = name.lower()
        near = [k for k in known if low in k.lower() or k.lower() in low][:limit]
    if near:
        return "; closest: " + ", ".join(repr(n) for n in near)
    if not known:
        return "; there are none"
    shown = ", ".join(repr(n) for n in sorted(known)[:limit])
    return f"; there are: {shown}" + (f" and {len(known) - limit} more" if len(known) > limit else "")
