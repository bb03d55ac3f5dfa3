"""Results as `.npy` and `.npz` files."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import typer

from graphrack.cli.output import unboxed
from graphrack.errors import FileError, UnsupportedOp
from graphrack.formats.safe_write import atomic_write


def check_output(path: str) -> None:
    """What can be known of an output file before the work begins.

    Raises:
        FileError: its folder isn't there.
    """
    if not path.endswith((".npy", ".npz")):
        raise typer.BadParameter(f"{path!r} should end with .npy or .npz", param_hint="--output")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise FileError(f"{path} can't be written: there is no folder {folder!r}")


def write_output(path: str, results: dict[str, dict[str, Any]]) -> None:
    """Writes the results of models, under a temporary name first.

    Raises:
        FileError: the file can't be written.
        UnsupportedOp: a value has no form in such files, or there isn't exactly one for a `.npy`.
    """
    several = len(results) > 1
    arrays = {
        f"{model}/{name}" if several else name: _storable(name, value)
        for model, outputs in results.items()
        for name, value in outputs.items()
        if value is not None
    }
    buffer = io.BytesIO()
    if path.endswith(".npz"):
        _write_npz(buffer, arrays)
    elif len(arrays) == 1:
        np.save(buffer, next(iter(arrays.values())), allow_pickle=False)
    else:
        raise UnsupportedOp(
            f"{path}: a .npy file holds one array, and there are {len(arrays)} ({', '.join(arrays) or 'none'}); "
            f"write a .npz file, or choose one with --fetch"
        )
    atomic_write(path, buffer.getvalue())


def _write_npz(buffer: io.BytesIO, arrays: dict[str, np.ndarray[Any, Any]]) -> None:
    import zipfile

    # np.savez takes names as keywords, of which `file` is one of its own.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _storable(name: str, value: Any) -> np.ndarray[Any, Any]:
    array = unboxed(value)
    if array.dtype.kind != "O":
        return array
    if not all(isinstance(v, bytes) for v in array.flat):
        raise UnsupportedOp(f"{name!r} is a resource, which no file can hold")
    fixed = array.astype(bytes)
    if not all(a == b for a, b in zip(fixed.flat, array.flat, strict=True)):
        raise UnsupportedOp(f"{name!r} has strings that end with zero bytes, which NumPy's files lose; use --json")
    return fixed
