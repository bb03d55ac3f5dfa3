"""Any file of named tensors behind one protocol: checkpoints V2 and V1, safetensors, npz.

path                                      is
ends in `.safetensors` or `.npz`          such a file; unless a checkpoint of that prefix lies there
a folder with a SavedModel                the checkpoint of its variables
a prefix, a folder, a state file          a checkpoint: see `checkpoint_files`
"""

from __future__ import annotations

import os
from typing import Any, Literal, Protocol

import numpy as np

from graphrack.errors import FileError
from graphrack.formats import npz, safetensors
from graphrack.formats.checkpoint_files import open_checkpoint
from graphrack.formats.checkpoint_names import exists
from graphrack.formats.saved_model import saved_model_file
from graphrack.formats.slices_v1 import V1Reader
from graphrack.formats.tensor_spec import TensorSpec

__all__ = ["Kind", "TensorReader", "kind_of", "open_tensors", "version_of"]

Kind = Literal["checkpoint", "safetensors", "npz"]


class TensorReader(Protocol):
    """What the readers of all those files have in common."""

    prefix: str

    def names(self) -> Any:
        """The names of all tensors."""

    def spec(self, name: str) -> TensorSpec:
        """Dtype and shape of a tensor."""

    def read(self, name: str, *, writable: bool = True, verify: bool = False) -> np.ndarray[Any, Any]:
        """The value of a tensor; with `verify` its checksum is checked, where there is one."""

    def close(self) -> None:
        """Lets go of the files."""


def kind_of(path: str | os.PathLike[str]) -> Kind:
    """What a path to be written means, by its ending."""
    text = os.fspath(path)
    return "safetensors" if text.endswith(safetensors.ENDING) else "npz" if text.endswith(npz.ENDING) else "checkpoint"


def open_tensors(path: str | os.PathLike[str]) -> tuple[Kind, TensorReader]:
    """Opens what lies there; values will be read, never mapped.

    Raises:
        FileError: nothing is there, or a file is missing.
        CorruptFile, CorruptCheckpoint: it contradicts itself.
        UnsupportedOp: an archive holds what is no array.
    """
    text = os.fspath(path)
    kind = kind_of(text)
    if kind != "checkpoint" and not exists(text):
        if os.path.isdir(text):
            raise FileError(f"{text} is a folder; a {kind} file was expected")
        return kind, safetensors.SafetensorsReader(text) if kind == "safetensors" else npz.NpzReader(text)
    folder = os.path.dirname(text) if os.path.basename(text).startswith("saved_model.pb") else text
    if not exists(text) and os.path.isdir(folder or ".") and saved_model_file(folder or ".") is not None:
        variables = os.path.join(folder, "variables", "variables")
        if not exists(variables):
            raise FileError(f"{text} is a SavedModel without variables: there is no {variables}.index")
        text = variables
    return "checkpoint", open_checkpoint(text, mapped=False)


def version_of(reader: TensorReader) -> int | None:
    """Of a checkpoint: 1 or 2."""
    from graphrack.formats.bundle_reader import BundleReader

    return 1 if isinstance(reader, V1Reader) else 2 if isinstance(reader, BundleReader) else None
