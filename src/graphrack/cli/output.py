"""What commands print: text and tables for people, JSON for programs."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrack.formats.dtypes import from_numpy

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

# Where no terminal sets a width, no line is broken: programs and editors read it.
_UNBROKEN = 1000


def plain(text: str) -> str:
    """A text without control characters: names come from files, and must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def console() -> Console:
    """A console on stdout, as wide as its terminal; where it is none, wide enough for any table."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _UNBROKEN
    return Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)


def show(*parts: RenderableType) -> None:
    """Prints text, tables and trees on stdout."""
    target = console()
    if target.is_terminal:
        for part in parts:
            target.print(part)
        return
    with target.capture() as captured:
        for part in parts:
            target.print(part)
    sys.stdout.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))


def indented(part: RenderableType) -> RenderableType:
    """Text two spaces to the right, in all of its lines; tables stand there of themselves."""
    from rich.padding import Padding

    return Padding(part, (0, 0, 0, 2), expand=False)


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table without lines; a column in `right` is aligned there. Long cells are folded, never cut."""
    from rich.table import Table

    made = Table(box=None, padding=(0, 0, 0, 2), show_header=any(columns), header_style="dim")
    for column in columns:
        numeric = column in right
        made.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    return made


def print_json(value: Any) -> None:
    """Prints a value as JSON, and nothing else, on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def text_of(value: bytes) -> str | None:
    """The text that bytes are in UTF-8; None where they are none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def json_of(value: Any) -> Any:
    """A tensor's value for JSON: nested lists of numbers, booleans and texts.

    NaN and infinities are the strings "NaN", "Infinity" and "-Infinity", which most readers of numbers
    take; complex numbers are objects of `real` and `imag`; strings that aren't UTF-8 objects of `base64`.
    """
    array = unboxed(value)
    if array.dtype.kind == "O":
        return _nested(array, _object)
    if array.dtype.kind == "c":
        return _nested(array, lambda z: {"real": _number(z.real), "imag": _number(z.imag)})
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return _nested(array, _number)
    return array.tolist()


def unboxed(value: Any) -> np.ndarray[Any, Any]:
    """A value as an array of a dtype that NumPy itself has: the narrow floats and ints of others widened."""
    array = np.asarray(value, dtype=object) if isinstance(value, (bytes, str)) else np.asarray(value)
    if array.dtype.names:  # a quantized type: its number
        array = array[array.dtype.names[0]]
    if array.dtype.kind == "V" or array.dtype.name.startswith(("bfloat", "float8", "float4")):
        array = array.astype(np.float32 if "float" in array.dtype.name else np.int32)
    return array


def dtype_name(value: Any) -> str:
    """TensorFlow's name for the dtype of a value."""
    array = np.asarray(value)
    if array.dtype.kind == "O" and not all(isinstance(v, bytes) for v in array.flat):
        return "resource"
    return from_numpy(array.dtype).name


def _nested(array: np.ndarray[Any, Any], item: Any) -> Any:
    def convert(value: Any) -> Any:
        return [convert(v) for v in value] if isinstance(value, list) else item(value)

    return convert(array.tolist())


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _object(value: Any) -> Any:
    if not isinstance(value, bytes):
        return str(value)
    text = text_of(value)
    if text is not None:
        return text
    import base64

    return {"base64": base64.b64encode(value).decode()}


def array_text(value: Any) -> str:
    """A value as text, shortened where it is large."""
    array = unboxed(value)
    if array.dtype.kind == "O":
        array = np.array([_shown(v) for v in array.flat] or [""], object)[: array.size].reshape(array.shape)
    if not array.shape:
        return str(array[()])
    return np.array2string(array, max_line_width=100, separator=", ", formatter={"object": str})


def _shown(value: Any) -> str:
    text = text_of(value) if isinstance(value, bytes) else str(value)
    return json.dumps(plain(text), ensure_ascii=False) if text is not None else repr(value)
