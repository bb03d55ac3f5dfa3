"""Optionals hold tensors or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.session import check_sessions

raw = tf.raw_ops


def hidden(value: Any) -> Any:
    return tf.placeholder_with_default(value, None)


def some() -> Any:
    return raw.OptionalFromValue(components=[hidden(np.ones((2, 3), np.float32)), hidden(np.array([b"a"], object))])


def get(optional: Any, types: Any = (tf.float32, tf.string), shapes: Any = ([2, None], None)) -> Any:
    return list(
        raw.OptionalGetValue(optional=optional, output_types=types, output_shapes=[tf.TensorShape(s) for s in shapes])
    )


def test_what_was_put_in_comes_out() -> None:
    def build() -> list[Any]:
        optional = some()
        return [*get(optional), raw.OptionalHasValue(optional=optional)]

    check_sessions(build)


def test_nothing_has_no_value() -> None:
    check_sessions(lambda: [raw.OptionalHasValue(optional=raw.OptionalNone())])


def test_zeros_and_sums_are_those_of_the_components() -> None:
    def build() -> list[Any]:
        one = raw.OptionalFromValue(components=[hidden(np.arange(4.0)), hidden(np.int32(3))])
        types, shapes = (tf.float64, tf.int32), ([4], [])
        nothing = raw.OptionalNone()
        return [
            *get(tf.zeros_like(one), types, shapes),
            *get(raw.AddN(inputs=[one, one]), types, shapes),
            raw.OptionalHasValue(optional=tf.zeros_like(nothing)),
            raw.OptionalHasValue(optional=raw.AddN(inputs=[nothing, nothing])),
        ]

    check_sessions(build)


WRONG: dict[str, Callable[[], Any]] = {
    "nothing": lambda: get(raw.OptionalNone()),
    "another dtype": lambda: get(some(), (tf.int32, tf.string)),
    "another count": lambda: get(some(), (tf.float32,), (None,)),
    "another shape": lambda: get(some(), shapes=([3, None], None)),
    "a sum with nothing": lambda: get(raw.AddN(inputs=[some(), raw.OptionalNone()])),
    "no optional": lambda: get(raw.EmptyTensorList(element_shape=-1, max_num_elements=-1, element_dtype=tf.float32)),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_tensorflow_refuses_is_refused(case: str) -> None:
    check_sessions(lambda: WRONG[case](), refused=True)
