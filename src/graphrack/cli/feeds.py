"""What stands behind `--feed NAME=`: numbers, lists, text, and files of arrays, JSON, text and pictures."""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import typer

from graphrack.errors import CorruptFile, FeedError, FileError, UnknownName, closest
from graphrack.formats.proto_files import explain_missing

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_HINT = "--feed"


class Picture(NamedTuple):
    """An image's pixels: uint8 of shape [height, width, channels], or [height, width] if gray."""

    pixels: np.ndarray[Any, Any]

    def fitting(self, shape: tuple[int | None, ...] | None) -> np.ndarray[Any, Any]:
        """The pixels with dimensions of 1 added where an input's shape has them: for a batch, for gray."""
        own = self.pixels
        forms = [own, own[None]] if own.ndim == 3 else [own, own[..., None], own[None], own[None, ..., None]]
        for form in forms:
            if shape is None or _fits(form.shape, shape):
                return form
        return own


def _fits(shape: tuple[int, ...], declared: tuple[int | None, ...]) -> bool:
    return len(shape) == len(declared) and all(d in (None, s) for s, d in zip(shape, declared, strict=True))


def parse_feeds(texts: Sequence[str]) -> dict[str, Any]:
    """The values of all `--feed` options by name.

    Raises:
        typer.BadParameter: an option can't be understood.
        FileError, CorruptFile, UnknownName: a file is missing, is not what its name says, lacks the key.
    """
    found: dict[str, Any] = {}
    if sum(text.partition("=")[2] == "@-" for text in texts) > 1:
        raise typer.BadParameter("only one feed can be read from stdin (@-)", param_hint=_HINT)
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r}: NAME=VALUE was expected, as x=50", param_hint=_HINT)
        if name in found:
            raise typer.BadParameter(f"{name!r} is fed twice", param_hint=_HINT)
        found[name] = _from_file(name, value[1:]) if value.startswith("@") else _from_text(text, value)
    return found


def _from_text(option: str, text: str) -> Any:
    """A number, a list or text as it stands in an option."""
    if _NUMBER.fullmatch(text):
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        if text.startswith(("[", '"')):
            raise typer.BadParameter(
                f"{option!r} begins as JSON does and is none: {error}; put text in double quotes", param_hint=_HINT
            ) from None
        return text
    problem = _not_a_value(value)
    if problem:
        raise typer.BadParameter(f"{option!r} {problem}", param_hint=_HINT)
    return value


def _not_a_value(value: Any) -> str:
    """Why JSON is no tensor; nothing where it is one."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack += item
        elif item is None or isinstance(item, dict):
            what = "null" if item is None else "an object"
            return f"holds {what}; numbers, booleans, text and lists of them were expected"
    return ""


def _from_file(name: str, path: str) -> Any:
    """The value in a file, by the ending of its name."""
    if path == "-":
        return _json(sys.stdin.buffer.read(), "stdin")
    file, key = path, None
    npz = re.fullmatch(r"(.+\.npz):(.+)", path)
    if npz and not os.path.exists(path):
        file, key = npz[1], npz[2]
    ending = os.path.splitext(file)[1].lower()
    read = _READERS.get(ending)
    if read is None:
        raise typer.BadParameter(
            f"'{name}=@{path}': a file that ends with {', '.join(_READERS)} was expected, or - for stdin",
            param_hint=_HINT,
        )
    if not os.path.exists(file):
        raise explain_missing(file)
    try:
        return _read_npz(file, key) if ending == ".npz" else read(file)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{file} can't be read: {error.strerror or error}") from None


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _read_npy(path: str) -> Any:
    with open(path, "rb") as file:
        try:
            return np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise CorruptFile(f"{path} is no .npy file that can be read: {error}") from None


def _read_npz(path: str, key: str | None = None) -> Any:
    import zipfile
    import zlib

    try:
        # Opened here: of a damaged archive np.load would leave the file open.
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise ValueError("it holds one array; call it .npy")
            if key is None and len(arrays.files) != 1:
                raise FeedError(
                    f"{path} holds {len(arrays.files)} arrays: say which, as @{path}:KEY{closest('', arrays.files)}"
                )
            chosen = arrays.files[0] if key is None else key
            if chosen not in arrays.files:
                raise UnknownName(f"{path} has no array {chosen!r}{closest(chosen, arrays.files)}")
            return arrays[chosen]
    except (FeedError, UnknownName):
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise CorruptFile(f"{path} is no .npz file that can be read: {error}") from None


def _read_json(path: str) -> Any:
    return _json(_bytes(path), path)


def _json(data: bytes, where: str) -> Any:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"{where} is no JSON: {error}") from None
    problem = _not_a_value(value)
    if problem:
        raise FeedError(f"{where} {problem}")
    return value


def _read_text(path: str) -> bytes:
    """One string: the file's bytes, without the line end that editors put at the end."""
    data = _bytes(path)
    return data[:-2] if data.endswith(b"\r\n") else data.removesuffix(b"\n")


def _read_picture(path: str) -> Picture:
    try:
        from PIL import Image
    except ImportError:
        raise FeedError(
            f"{path} is a picture, and Pillow, which reads them, is not installed: pip install pillow, or feed a .npy"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG", "JPEG"]) as image:
                return Picture(np.asarray(_eight_bits(image, path)))
    except FeedError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise CorruptFile(f"{path} is no picture that can be read: {error}") from None


def _eight_bits(image: Any, path: str) -> Any:
    """The picture in gray, RGB or RGBA of 8 bits each."""
    if image.mode in ("L", "RGB", "RGBA"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("P", "PA", "LA"):
        return image.convert("RGBA" if image.mode != "P" or "transparency" in image.info else "RGB")
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise FeedError(f"{path} has more than 8 bits per pixel (mode {image.mode}); feed its values as a .npy file")
    return image.convert("RGB")


_READERS: dict[str, Callable[[str], Any]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".json": _read_json,
    ".txt": _read_text,
    ".png": _read_picture,
    ".jpg": _read_picture,
    ".jpeg": _read_picture,
}
