"""Maps from tensors to tensors against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from ops.api import agree, fed

raw = tf.raw_ops


def _two() -> tuple[Any, Any]:
    key = fed([1, 2], np.int32)
    first = raw.TensorMapInsert(input_handle=raw.EmptyTensorMap(), key=key, value=fed([1.0, 2.0]))
    return key, raw.TensorMapInsert(input_handle=first, key=fed([3, 2], np.int32), value=fed([5.0]))


def test_maps_hold_what_was_inserted() -> None:
    def program() -> Any:
        key, both = _two()
        erased = raw.TensorMapErase(input_handle=both, key=key, value_dtype=tf.float64)
        return [
            raw.TensorMapSize(input_handle=both),
            raw.TensorMapLookup(input_handle=both, key=key, value_dtype=tf.float64),
            raw.TensorMapHasKey(input_handle=erased, key=key),
            raw.TensorMapHasKey(input_handle=both, key=key),
            tf.sort(raw.TensorMapStackKeys(input_handle=both, key_dtype=tf.int32), axis=0),
        ]

    agree(program, gradients=False)


def test_strings_are_keys() -> None:
    def program() -> Any:
        found = raw.TensorMapInsert(input_handle=raw.EmptyTensorMap(), key=fed([b"a", b"b"]), value=fed([b"v"]))
        return [
            raw.TensorMapLookup(input_handle=found, key=fed([b"a", b"b"]), value_dtype=tf.string),
            raw.TensorMapHasKey(input_handle=found, key=fed([b"a", b"c"])),
        ]

    agree(program)


def test_what_is_not_there_is_refused() -> None:
    empty = raw.EmptyTensorMap
    agree(lambda: raw.TensorMapLookup(input_handle=empty(), key=fed(1), value_dtype=tf.float32))
    agree(lambda: raw.TensorMapLookup(input_handle=_two()[1], key=fed(1), value_dtype=tf.float32))
