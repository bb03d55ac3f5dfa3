"""Load, isolate, run, combine and save TensorFlow models, any number in one process, without TensorFlow."""

from graphrack.errors import (
    AmbiguousOutput,
    CorruptCheckpoint,
    CorruptFile,
    FeedError,
    FileError,
    GraphError,
    GraphrackError,
    OpError,
    PermissionDenied,
    RestoreError,
    UninitializedError,
    UnknownName,
    UnsupportedOp,
)

__version__ = "0.1.0"
