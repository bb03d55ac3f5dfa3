"""Ops on files that the graph names: ReadFile, WriteFile, MatchingFiles. They run where the caller permits it."""

from __future__ import annotations

import os
import re
from typing import Any

import numpy as np

from graphrack.ops.registry import op
from graphrack.ops.runtime import Array
from graphrack.ops.strings import strings_of

_SCHEME = re.compile(rb"([A-Za-z][A-Za-z0-9.+-]*)://")


def _path(name: str, value: Any) -> bytes:
    """The local path that an input holds. Raises `ValueError` for another file system, or a tensor of some rank."""
    array = np.asarray(value)
    if array.ndim:
        raise ValueError(f"{name} must be a scalar, got shape {array.shape}")
    path: bytes = array.item()
    scheme = _SCHEME.match(path)
    if scheme is not None and scheme[1] != b"file":
        raise ValueError(f"{name} {path!r} is no local file; graphrack reaches local files alone")
    return path[scheme.end() :] if scheme is not None else path


@op("ReadFile", io="read a file", impure=True)
def ReadFile(filename: Any) -> Any:
    path = _path("filename", filename)
    try:
        with open(path, "rb") as file:
            return strings_of([file.read()], ())
    except OSError as error:
        raise ValueError(f"{path!r} can't be read: {error.strerror}") from error


@op("WriteFile", outputs=0, io="write a file", impure=True)
def WriteFile(filename: Any, contents: Any) -> None:
    path, data = _path("filename", filename), np.asarray(contents)
    if data.ndim:
        raise ValueError(f"contents must be a scalar, got shape {data.shape}")
    try:
        os.makedirs(os.path.dirname(path) or b".", exist_ok=True)
        with open(path, "wb") as file:
            file.write(data.item())
    except OSError as error:
        raise ValueError(f"{path!r} can't be written: {error.strerror}") from error


@op("MatchingFiles", io="list files", impure=True)
def MatchingFiles(pattern: Array) -> Array:
    patterns = np.asarray(pattern)
    if patterns.ndim > 1:
        raise ValueError(f"pattern must be a scalar or a vector, got shape {patterns.shape}")
    found: list[bytes] = []
    for item in patterns.reshape(-1).tolist():
        found += _matching(_path("pattern", np.array(item, object)))
    return strings_of(sorted(found), (len(found),))


def _matching(pattern: bytes) -> list[bytes]:
    """The paths that a pattern means: `*`, `?` and `[...]` within one name, hidden ones too; `\\` quotes."""
    paths = [b"/" if pattern.startswith(b"/") else b""]
    for part in filter(None, pattern.split(b"/")):
        form = re.compile(_regex(part), re.DOTALL)
        following = []
        for folder in paths:
            try:
                names = os.listdir(folder or b".")
            except OSError:
                continue
            following += [os.path.join(folder, name) for name in names if form.fullmatch(name)]
        paths = following
    return paths


def _regex(part: bytes) -> bytes:
    """A regular expression for one name of a pattern."""
    pieces = re.findall(rb"\\.|\[[^\]]+\]|.", part, re.DOTALL)
    meanings = {b"*": b".*", b"?": b"."}
    made = b""
    for piece in pieces:
        if piece.startswith(b"[") and len(piece) > 1:
            negated = piece[1:2] in (b"!", b"^")
            inner = re.escape(piece[2:-1] if negated else piece[1:-1]).replace(rb"\-", b"-")
            made += b"[" + (b"^" if negated else b"") + inner + b"]"
        else:
            made += meanings.get(piece) or re.escape(piece[-1:])
    return made
