"""Ops that look on: Assert, which stops a run, and Print and PrintV2, which tell of it."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

from graphrack.ops._arguments import scalar
from graphrack.ops.registry import op, specialized
from graphrack.ops.runtime import Array, RunState
from graphrack.ops.string_numbers import writer


def first_values(value: Any, limit: int) -> str:
    """The first `limit` values of an array (all of them where negative), rows in brackets, as Assert shows them."""
    array = np.asarray(value)
    if not array.size:
        return ""
    limit = array.size if limit < 0 else limit
    if not limit:  # where nothing is to be shown, TensorFlow shows nothing of booleans
        return "..." if array.size and array.dtype.kind != "b" else ""
    write = writer(array.dtype)
    left = limit

    def text(part: Array, inside: bool) -> str:
        nonlocal left
        if part.ndim == 0:
            left -= 1
            return write(part.item()).strip('"')
        if part.ndim == 1:
            taken = part[:left].tolist()
            left -= len(taken)
            short = "..." if inside and len(taken) < len(part) else ""
            return " ".join(write(item).strip('"') for item in taken) + short
        rows = ""
        for i in range(len(part)):
            if left <= 0:
                break
            rows += f"[{text(part[i, ...], True)}]"
        return rows

    return text(array, False) + ("..." if array.size > limit else "")


@op("Assert", outputs=0, impure=True)
def Assert(condition: Any, *data: Any, summarize: int = 3) -> None:
    if not scalar("condition", condition):
        raise ValueError("assertion failed: " + " ".join(f"[{first_values(value, summarize)}]" for value in data))


class _Count:
    """How often a Print has printed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.printed = 0

    def again(self, most: int) -> bool:
        with self.lock:
            self.printed += 1
            return self.printed <= most


@specialized("Print", state=True)
def Print(*, node_name: str, message: bytes = b"", first_n: int = -1, summarize: int = 3) -> Any:
    def kernel(state: RunState, input: Any, *data: Any) -> Any:
        if first_n < 0 or state.per_node(node_name, _Count).again(first_n):
            shown = "".join(f"[{first_values(value, summarize)}]" for value in data)
            print(message.decode(errors="replace") + shown, file=sys.stderr)
        return input

    return kernel


@specialized("PrintV2", outputs=0, impure=True)
def PrintV2(*, output_stream: bytes = b"stderr", end: bytes = b"\n") -> Any:
    stream = output_stream.decode(errors="replace")
    if stream.startswith("file://"):
        raise ValueError(f"output_stream {stream!r} is a file; graphrack prints to stdout, stderr and its log alone")

    def kernel(input: Any) -> None:
        text = np.asarray(input)
        if text.ndim:
            raise ValueError(f"input must be a scalar, found shape {list(text.shape)}")
        # TensorFlow's log goes to stderr too.
        out = sys.stdout if stream == "stdout" else sys.stderr
        print(text.item().decode(errors="replace"), end=end.decode(errors="replace"), file=out)

    return kernel
