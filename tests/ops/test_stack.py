"""Stacks: last in, first out, with TensorFlow's refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.removed import apply, pretend_age
from ops.session import check_sessions

DTYPES = ("float32", "int64", "string", "bool", "bfloat16", "complex128")


def elements(dtype: str) -> list[Any]:
    if dtype == "string":
        return [tf.constant(b"a"), tf.constant([b"b", b"c"])]
    return [tf.cast(tf.constant([1, 0]), dtype), tf.cast(tf.constant(3), dtype)]


NAMES = {
    "Push": ("StackPush", "StackPushV2"),
    "Pop": ("StackPop", "StackPopV2"),
    "Close": ("StackClose", "StackCloseV2"),
}


class Script:
    """Ops on one stack, one after another; of the version with references (`old`) or of the one with resources."""

    def __init__(self, old: bool, dtype: Any = "float32", max_size: int = -1):
        self.version = 0 if old else 1
        self.dtype = dtype
        self.fetches: list[Any] = []
        if old:
            pretend_age(12)
            self.handle = apply("Stack", elem_type=dtype)
        else:
            self.handle = apply("StackV2", elem_type=dtype, max_size=np.int32(max_size))
        self.last = [self.handle.op]

    def do(self, name: str, **arguments: Any) -> None:
        with tf.control_dependencies(self.last):
            made = apply(NAMES[name][self.version], handle=self.handle, **arguments)
        self.last = [made if isinstance(made, tf.Operation) else made.op]
        self.fetches.append(made)

    def push(self, value: Any) -> None:
        self.do("Push", elem=value)

    def pop(self) -> None:
        self.do("Pop", elem_type=self.dtype)


def fetched(script: Script) -> list[Any]:
    return [f for f in script.fetches if isinstance(f, tf.Tensor)] + script.last


both = pytest.mark.parametrize("old", [True, False], ids=["StackPush", "StackPushV2"])


@both
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_last_one_pushed_is_popped(old: bool, dtype: str) -> None:
    def build() -> list[Any]:
        script = Script(old, dtype)
        first, second = elements(dtype)
        script.push(first)
        script.push(second)
        script.pop()
        script.push(second)
        script.pop()
        script.pop()
        script.do("Close")
        return fetched(script)

    check_sessions(build, runs=2)


@both
def test_an_empty_stack_gives_nothing(old: bool) -> None:
    def build() -> list[Any]:
        script = Script(old)
        script.pop()
        return fetched(script)

    check_sessions(build, refused=True)


@both
def test_a_closed_stack_gives_nothing(old: bool) -> None:
    def build() -> list[Any]:
        script = Script(old)
        script.push(np.float32(1))
        script.do("Close")
        script.pop()
        return fetched(script)

    check_sessions(build, refused=True)


@both
def test_another_dtype_is_refused(old: bool) -> None:
    def build() -> list[Any]:
        script = Script(old)
        script.push(np.int32(1))
        return fetched(script)

    check_sessions(build, refused=True)


@pytest.mark.parametrize(("max_size", "refused"), [(2, True), (3, False), (-1, False), (-7, False)])
def test_a_stack_may_have_a_limit(max_size: int, refused: bool) -> None:
    def build() -> list[Any]:
        script = Script(False, max_size=max_size)
        for _ in range(3):
            script.push(np.float32(1))
        return fetched(script)

    check_sessions(build, refused=refused)
