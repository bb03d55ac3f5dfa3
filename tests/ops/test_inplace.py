"""Ops that TensorFlow computes in place, temporary variables and critical sections, against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import agree, fed
from ops.harness import check
from tensorflow.python.ops import gen_state_ops

import graphrack as gr


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.complex64, np.float16])
@pytest.mark.parametrize("op", ["InplaceUpdate", "InplaceAdd", "InplaceSub"])
def test_rows_change_as_by_tensorflow(op: str, dtype: Any) -> None:
    for rows in ([0], [0, 2], [-1, 1], [1, 1], [], [3], 1):
        if op == "InplaceUpdate" and rows == [1, 1]:
            continue  # which one stays is nobody's promise

        def program(rows: Any = rows) -> Any:
            # TensorFlow writes into what it is given, which must not be what was fed.
            x = fed(np.arange(6).reshape(3, 2), dtype) + tf.constant(0, dtype)
            v = fed(np.arange(2 * np.size(rows)).reshape(*np.shape(rows), 2) + 7, dtype)
            return getattr(tf.raw_ops, op)(x=x, i=fed(rows, np.int32), v=v)

        agree(program, gradients=False)


def test_rows_of_another_size_are_refused() -> None:
    x, i, v = np.zeros((3, 2)), np.array([1], np.int32), np.zeros((1, 3))
    for op in ("InplaceUpdate", "InplaceAdd", "InplaceSub"):
        check(op, x=x, i=i, v=v, refused=True)


@pytest.mark.parametrize(
    "masks", [{}, {"begin_mask": 1}, {"end_mask": 2}, {"shrink_axis_mask": 1}, {"new_axis_mask": 1},
              {"ellipsis_mask": 1}]
)  # fmt: skip
def test_slice_update_agrees(masks: dict[str, int]) -> None:
    for value in (7.0, np.arange(2.0), np.arange(4.0).reshape(2, 2), np.arange(3.0)):
        check(
            "TensorStridedSliceUpdate", input=np.zeros((3, 4)), begin=np.array([1, 1], np.int32),
            end=np.array([3, 3], np.int32), strides=np.array([1, 1], np.int32), value=np.asarray(value), **masks,
        )  # fmt: skip


def test_a_temporary_variable_lives_for_one_run() -> None:
    # "DestroyTemporaryVariable": as accumulate_n was built in TensorFlow before 1.7
    def program() -> Any:
        variable = gen_state_ops.temporary_variable(shape=[2], dtype=tf.float64)
        name = variable.op.name
        start = tf.assign(variable, tf.zeros([2], tf.float64))
        added = [tf.assign_add(start, fed(value)) for value in ([1.0, 2.0], [3.0, 4.0])]
        with tf.control_dependencies(added):
            return gen_state_ops.destroy_temporary_variable(start, var_name=name)

    agree(program, runs=3, gradients=False)


def test_critical_sections_agree() -> None:
    # "MutexV2", "MutexLock", "ConsumeMutexLock"
    def program() -> Any:
        section = tf.CriticalSection()
        variable = tf.get_variable("v", initializer=np.float64(1), use_resource=True)
        return [section.execute(lambda: variable.assign_add(fed(2.0)))]

    agree(program, runs=3)


def test_a_fake_parameter_is_zeros(tmp_path: Any) -> None:
    with tf.Graph().as_default() as graph:
        fakes = [tf.raw_ops.FakeParam(dtype=tf.float32, shape=s) for s in ([2, 3], [None, 3], None)]
    (tmp_path / "g.pb").write_bytes(graph.as_graph_def().SerializeToString())
    found = gr.load(tmp_path / "g.pb", engine="numpy").run([fake.name for fake in fakes])
    assert [(f.shape, f.dtype) for f in found] == [((2, 3), np.float32), ((0, 3), np.float32), ((), np.float32)]


def test_device_index_is_that_of_the_processor() -> None:
    check("DeviceIndex", device_names=["TPU", "CPU"])
    check("DeviceIndex", device_names=["TPU", "GPU"])
