"""Checkpoints for tests: TensorFlow's, by its own ops, and samples of every dtype."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import tensorflow.compat.v1 as tf

SIMPLE = ["float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
NARROW = ["bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e4m3b11fnuz", "float8_e5m2fnuz"]
NARROW += ["int4", "uint4", "int2", "uint2"]
QUANTIZED = {"qint8": np.int8, "quint8": np.uint8, "qint16": np.int16, "quint16": np.uint16, "qint32": np.int32}


def every_dtype(shape: tuple[int, ...] = (2, 3)) -> dict[str, np.ndarray[Any, Any]]:
    """One array per dtype that both TensorFlow and NumPy hold, with the dtype's name as its name."""
    count = int(np.prod(shape))
    small = (np.arange(count) % 3 - 1).reshape(shape)
    samples: dict[str, np.ndarray[Any, Any]] = {name: (small * 7).astype(name) for name in SIMPLE}
    samples |= {name: np.abs(small).astype(getattr(ml_dtypes, name)) for name in NARROW}
    samples["int4"] = small.astype(ml_dtypes.int4)
    samples["int2"] = small.astype(ml_dtypes.int2)
    samples["bool"] = small > 0
    samples["complex64"] = (small + 2j).astype(np.complex64)
    samples["complex128"] = small - 3j
    samples["string"] = np.array([b"x" * (i * 50) for i in range(count)], object).reshape(shape)
    return samples


def tf_save(prefix: str | os.PathLike[str], arrays: Mapping[str, Any], slices: Mapping[str, str] | None = None) -> str:
    """Saves arrays as V2 by TensorFlow's SaveV2.

    `slices` gives shape_and_slice by name; what follows an @ in a name only tells slices apart.
    """
    with tf.Graph().as_default(), tf.Session() as sess:
        names, specs, tensors, feeds = _to_save(arrays, slices or {})
        op = tf.raw_ops.SaveV2(prefix=os.fspath(prefix), tensor_names=names, shape_and_slices=specs, tensors=tensors)
        sess.run(op, feeds)
    return os.fspath(prefix)


def tf_save_v1(path: str | os.PathLike[str], arrays: Mapping[str, Any], slices: Mapping[str, str] | None = None) -> str:
    """Saves arrays as V1 by TensorFlow's SaveSlices; arguments as of `tf_save`."""
    with tf.Graph().as_default(), tf.Session() as sess:
        names, specs, tensors, feeds = _to_save(arrays, slices or {})
        op = tf.raw_ops.SaveSlices(filename=os.fspath(path), tensor_names=names, shapes_and_slices=specs, data=tensors)
        sess.run(op, feeds)
    return os.fspath(path)


def _to_save(arrays: Mapping[str, Any], slices: Mapping[str, str]) -> tuple[list[str], list[str], list[Any], Any]:
    feeds: dict[Any, Any] = {}
    tensors = []
    for value in arrays.values():
        array = np.asarray(value)
        if array.dtype.names:  # quantized, which can't be fed
            name = array.dtype.names[0]
            tensors.append(tf.bitcast(tf.constant(array[name]), getattr(tf, name)))
        else:
            dtype = tf.string if array.dtype.hasobject else array.dtype
            tensors.append(tf.placeholder(dtype, array.shape))
            feeds[tensors[-1]] = array
    names = [name.partition("@")[0] for name in arrays]
    return names, [slices.get(name, "") for name in arrays], tensors, feeds


def quantized(name: str) -> np.ndarray[Any, Any]:
    """An array of a quantized dtype, in the NumPy form that TensorFlow gives them."""
    plain = np.array([1, 2, 100], QUANTIZED[name])
    return plain.view(np.dtype([(name, plain.dtype)]))


def tf_read(prefix: str, name: str, dtype: Any) -> Any:
    """One tensor by TensorFlow's RestoreV2, which knows more dtypes than its checkpoint reader."""
    with tf.Graph().as_default(), tf.Session() as sess:
        (value,) = tf.raw_ops.RestoreV2(prefix=prefix, tensor_names=[name], shape_and_slices=[""], dtypes=[dtype])
        return sess.run(value)


def same(a: Any, b: Any) -> bool:
    """Whether two arrays are equal in dtype, shape and every bit."""
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.tolist() == b.tolist() if a.dtype.hasobject else a.tobytes() == b.tobytes()


def flips(data: bytes) -> Iterator[bytes]:
    """The bytes with each single bit flipped."""
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a folder and their bytes."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def quietly(function: Any, *args: Any) -> Any:
    """Calls something of TensorFlow's that warns about being old."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args)
