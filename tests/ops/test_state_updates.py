"""Scatter updates, slice assignments, counters and resource gathers do to variables what TensorFlow does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.session import check_sessions
from tensorflow.python.framework import kernels, op_def_registry

SCATTERS = [
    "ScatterUpdate", "ScatterAdd", "ScatterSub", "ScatterMul", "ScatterDiv", "ScatterMin", "ScatterMax",
    "ResourceScatterUpdate", "ResourceScatterAdd", "ResourceScatterSub", "ResourceScatterMul",
    "ResourceScatterDiv", "ResourceScatterMin", "ResourceScatterMax",
]  # fmt: skip
SCATTERS_ND = [
    "ScatterNdUpdate", "ScatterNdAdd", "ScatterNdSub", "ScatterNdMin", "ScatterNdMax",
    "ResourceScatterNdUpdate", "ResourceScatterNdAdd", "ResourceScatterNdSub", "ResourceScatterNdMin",
    "ResourceScatterNdMax",
]  # fmt: skip


def values(shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    numbers = np.random.RandomState(seed).randint(1, 20, shape)
    if dtype == "string":
        return numbers.astype("S").astype(object)
    if dtype in ("bool",):
        return numbers % 2 == 0
    array = np.asarray(numbers).astype(tf.as_dtype(dtype).as_numpy_dtype)
    return -array if dtype.startswith(("int", "float", "complex")) and seed % 2 else array


def run(op_name: str, start: np.ndarray, runs: int = 2, refused: bool = False, **arguments: Any) -> None:
    """Runs the op on a variable with that value; compares its output, if it has one, and the variable after it."""
    resource = op_name.startswith("Resource")
    arrays = {k: v for k, v in arguments.items() if isinstance(v, (np.ndarray, np.generic))}

    def build() -> Any:
        variable = tf.Variable(start, use_resource=resource, name="variable", dtype=_type(start))
        key = "resource" if op_name.startswith(("ResourceScatter", "ResourceGather", "ResourceCount")) else "ref"
        if op_name.startswith("ResourceScatterNd"):
            key = "ref"
        given = {key: variable.handle if resource else variable._ref()}
        given.update((k, tf.placeholder(_type(v), None, f"in_{k}")) for k, v in arrays.items())
        given.update((k, v) for k, v in arguments.items() if k not in arrays)
        result = getattr(tf.raw_ops, op_name)(**given, name="op")
        with tf.control_dependencies([result]):
            after = variable.read_value() if resource else tf.identity(variable)
        return [after] if isinstance(result, tf.Operation) else [result, after]

    feeds = {f"in_{k}:0": np.asarray(v) for k, v in arrays.items()}
    check_sessions(build, runs, feeds, ("variable/Assign",), refused=refused, note=f"{op_name} {arguments}")


def _type(value: Any) -> Any:
    return tf.string if np.asarray(value).dtype == object else tf.as_dtype(np.asarray(value).dtype)


def dtypes_of(op_name: str) -> list[str]:
    """The dtypes that the op allows and TensorFlow has kernels for, but those that no arithmetic is done on."""
    op = op_def_registry.get(op_name)
    attribute = next(a for a in op.attr if a.name in ("T", "dtype"))
    with_kernels = {
        constraint.allowed_values.list.type[0]
        for kernel in kernels.get_registered_kernels_for_op(op_name).kernel
        if kernel.device_type == "CPU"
        for constraint in kernel.constraint
        if constraint.name == attribute.name
    }
    allowed = set(attribute.allowed_values.list.type) or with_kernels
    odd = {"qint8", "quint8", "qint32", "qint16", "quint16", "variant", "resource", "int4", "uint4"}
    return sorted({tf.as_dtype(t).name for t in with_kernels & allowed} - odd)


@pytest.mark.parametrize("op_name", SCATTERS)
def test_scatter_ops_change_rows_as_tensorflow_does(op_name: str) -> None:
    repeated = np.array([[3, 0], [3, 3]])
    for dtype in dtypes_of(op_name):
        runs = 1 if op_name.endswith(("Mul", "Div")) else 2
        start = values((5, 3), dtype, 1)
        run(op_name, start, runs, indices=repeated, updates=values((2, 2, 3), dtype, 2))
        run(op_name, start, runs, indices=repeated.astype(np.int32), updates=values((), dtype, 3))
    for shape, indices in (((5,), [4, 1, 4]), ((5,), 2), ((5, 2, 2), [[1]]), ((5, 3), []), ((5, 0), [1])):
        where = np.array(indices, np.int64)
        run(
            op_name,
            values(shape, "float32", 1),
            indices=where,
            updates=values((*where.shape, *shape[1:]), "float32", 2),
        )


@pytest.mark.parametrize("op_name", SCATTERS)
def test_scatter_ops_refuse_what_does_not_fit(op_name: str) -> None:
    start = values((5, 3), "float32", 1)
    for indices in ([5], [-1], [[0], [7]]):
        where = np.array(indices)
        run(op_name, start, 1, True, indices=where, updates=values((*where.shape, 3), "float32", 2))
    run(op_name, start, 1, True, indices=np.array([1, 2]), updates=values((3, 3), "float32", 2))
    if not op_name.startswith("Resource"):  # there TensorFlow reads past the end
        run(op_name, start, 1, True, indices=np.array([1, 2]), updates=values((2, 2), "float32", 2))


@pytest.mark.parametrize("op_name", ["ScatterDiv", "ResourceScatterDiv"])
def test_dividing_integers_goes_towards_0(op_name: str) -> None:
    for dtype in (np.int32, np.int64, np.int8):
        start, by = np.array([7, -7, 7, -7, -8], dtype), np.array([2, 2, -2, -2, 2], dtype)
        run(op_name, start, indices=np.arange(5), updates=by)


@pytest.mark.parametrize("op_name", SCATTERS_ND)
def test_scatter_nd_ops_change_parts_as_tensorflow_does(op_name: str) -> None:
    rows, elements = np.array([[3], [0], [3]]), np.array([[3, 1], [0, 0], [3, 1]], np.int32)
    for dtype in dtypes_of(op_name):
        start = values((5, 3), dtype, 1)
        run(op_name, start, indices=rows, updates=values((3, 3), dtype, 2))
        run(op_name, start, indices=elements, updates=values((3,), dtype, 2))
    start = values((5, 3), "float32", 1)
    run(op_name, start, indices=rows[:0], updates=values((0, 3), "float32", 2))
    run(op_name, start, indices=rows.reshape(3, 1, 1), updates=values((3, 1, 3), "float32", 2))


@pytest.mark.parametrize("op_name", SCATTERS_ND)
def test_scatter_nd_ops_refuse_what_does_not_fit(op_name: str) -> None:
    start = values((5, 3), "float32", 1)
    run(op_name, start, 1, True, indices=np.array([[5]]), updates=values((1, 3), "float32", 2))
    run(op_name, start, 1, True, indices=np.array([[0, -1]]), updates=values((1,), "float32", 2))
    run(op_name, start, 1, True, indices=np.array([[0]]), updates=values((1, 2), "float32", 2))
    run(op_name, start, 1, True, indices=np.array([[0, 0, 0]]), updates=values((1,), "float32", 2))


def test_gathering_from_a_resource_is_gathering_from_its_value() -> None:
    for dtype in ("float32", "bfloat16", "int64", "string", "bool"):
        start = values((4, 3, 2), dtype, 1)
        for indices in ([[0, 3], [2, 2]], 1, []):
            run("ResourceGather", start, indices=np.array(indices, np.int32), dtype=_type(start))
        run("ResourceGather", start, indices=np.array([[2], [0], [1], [1]]), batch_dims=1, dtype=_type(start))
        run("ResourceGatherNd", start, indices=np.array([[3, 2], [0, 0]]), dtype=_type(start))
        run("ResourceGatherNd", start, indices=np.array([[3], [0]]), dtype=_type(start))
    run("ResourceGather", start, 1, True, indices=np.array([4]), dtype=_type(start))
    run("ResourceGatherNd", start, 1, True, indices=np.array([[0, 3]]), dtype=_type(start))


SLICES: list[tuple[list[int], list[int], list[int], tuple[int, ...], dict[str, int]]] = [
    ([1, 0], [3, 2], [1, 1], (2, 2), {}),
    ([3, 2], [0, 0], [-1, -2], (3, 1), {}),
    ([0, 0], [0, 0], [1, 2], (4, 2), {"begin_mask": 3, "end_mask": 3}),
    ([2, 0], [3, 3], [1, 1], (3,), {"shrink_axis_mask": 1}),
    ([0, 1], [0, 2], [1, 1], (4, 1), {"ellipsis_mask": 1}),
    ([2], [2], [1], (0, 3), {}),
]


@pytest.mark.parametrize("op_name", ["StridedSliceAssign", "ResourceStridedSliceAssign"])
def test_slices_are_assigned_as_tensorflow_assigns_them(op_name: str) -> None:
    for dtype in ("float32", "int32", "bool", "string", "complex64"):
        for begin, end, strides, shape, masks in SLICES:
            spec = {"begin": np.array(begin), "end": np.array(end), "strides": np.array(strides)}
            run(op_name, values((4, 3), dtype, 1), **spec, value=values(shape, dtype, 2), **masks)
    spec = {"begin": np.array([0]), "end": np.array([2]), "strides": np.array([1])}
    run(op_name, values((4, 3), "float32", 1), 1, True, **spec, value=values((3, 3), "float32", 2))
    spec["strides"] = np.array([0])
    run(op_name, values((4, 3), "float32", 1), 1, True, **spec, value=values((2, 3), "float32", 2))


@pytest.mark.parametrize("op_name", ["CountUpTo", "ResourceCountUpTo"])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_counters_give_what_they_were_until_their_limit(op_name: str, dtype: Any) -> None:
    given = {"T": tf.as_dtype(dtype)} if op_name.startswith("Resource") else {}
    run(op_name, np.array(3, dtype), 3, limit=6, **given)
    run(op_name, np.array(6, dtype), 1, True, limit=6, **given)
