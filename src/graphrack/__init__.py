"""Load, isolate, run, combine and save TensorFlow models, any number in one process, without TensorFlow.

Start with `load` for one model, `Rack` for many, `Checkpoint` for values alone.
"""

from graphrack.binding import merge
from graphrack.checkpoint import Checkpoint, checkpoints, latest_checkpoint, save_checkpoint
from graphrack.converting import Converted, convert
from graphrack.errors import (
    AmbiguousOutput,
    CorruptCheckpoint,
    CorruptFile,
    FallbackWarning,
    FeedError,
    FileError,
    GraphError,
    GraphrackError,
    MissingDependency,
    OpError,
    PermissionDenied,
    RackErrors,
    RestoreError,
    UninitializedError,
    UnknownName,
    UnsupportedOp,
    UnsupportedSource,
)
from graphrack.formats.dtypes import DType
from graphrack.formats.tensor_spec import TensorSpec
from graphrack.graph.interface import Operation, Signature
from graphrack.loading import load
from graphrack.model import Model, ModelStats, Variables
from graphrack.rack import Rack
from graphrack.saver import Saver
from graphrack.session import restore

__version__ = "0.1.0"

__all__ = [
    "AmbiguousOutput",
    "Checkpoint",
    "Converted",
    "CorruptCheckpoint",
    "CorruptFile",
    "DType",
    "FallbackWarning",
    "FeedError",
    "FileError",
    "GraphError",
    "GraphrackError",
    "MissingDependency",
    "Model",
    "ModelStats",
    "OpError",
    "Operation",
    "PermissionDenied",
    "Rack",
    "RackErrors",
    "RestoreError",
    "Saver",
    "Signature",
    "TensorSpec",
    "UninitializedError",
    "UnknownName",
    "UnsupportedOp",
    "UnsupportedSource",
    "Variables",
    "checkpoints",
    "convert",
    "latest_checkpoint",
    "load",
    "merge",
    "restore",
    "save_checkpoint",
]
