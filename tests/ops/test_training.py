"""Apply ops leave variables and slots as TensorFlow's do: dense and sparse, by reference and by resource."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.session import KernelState, check_sessions
from tensorflow.python.framework import kernels

import graphrack as gr
from graphrack.ops import registry
from graphrack.ops.runtime import Handle

# Variable and slots; the other inputs in the op's order, lists where several values are tried.
SCALARS: dict[str, tuple[str, dict[str, Any]]] = {
    "GradientDescent": ("var", {"alpha": 0.1, "delta": None}),
    "Momentum": ("var accum", {"lr": 0.1, "grad": None, "momentum": 0.9}),
    "KerasMomentum": ("var accum", {"lr": 0.1, "grad": None, "momentum": 0.9}),
    "Adam": (
        "var m v",
        {"beta1_power": 0.81, "beta2_power": 0.9, "lr": 0.01, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-3,
         "grad": None},
    ),
    "AdamWithAmsgrad": (
        "var m v vhat",
        {"beta1_power": 0.81, "beta2_power": 0.9, "lr": 0.01, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-3,
         "grad": None},
    ),
    "AdaMax": (
        "var m v",
        {"beta1_power": 0.81, "lr": 0.01, "beta1": 0.9, "beta2": 0.95, "epsilon": 1e-3, "grad": None},
    ),
    "Adagrad": ("var accum", {"lr": 0.1, "grad": None}),
    "AdagradV2": ("var accum", {"lr": 0.1, "epsilon": 1e-2, "grad": None}),
    "AdagradDA": (
        "var gradient_accumulator gradient_squared_accumulator",
        {"grad": None, "lr": 0.1, "l1": [0.0, 0.05], "l2": [0.0, 0.1], "global_step": np.int64(3)},
    ),
    "Adadelta": ("var accum accum_update", {"lr": 0.1, "rho": 0.9, "epsilon": 1e-2, "grad": None}),
    "RMSProp": (
        "var ms mom", {"lr": 0.1, "rho": 0.9, "momentum": 0.5, "epsilon": 1e-2, "grad": None},
    ),
    "CenteredRMSProp": (
        "var mg ms mom", {"lr": 0.1, "rho": 0.9, "momentum": 0.5, "epsilon": 3.0, "grad": None},
    ),
    "Ftrl": (
        "var accum linear",
        {"grad": None, "lr": 0.1, "l1": [0.0, 0.2], "l2": [0.0, 0.1], "lr_power": [-0.5, -0.7, 0.0]},
    ),
    "FtrlV2": (
        "var accum linear",
        {"grad": None, "lr": 0.1, "l1": [0.0, 0.2], "l2": 0.1, "l2_shrinkage": [0.0, 0.3], "lr_power": [-0.5, -0.7]},
    ),
    "ProximalGradientDescent": (
        "var", {"alpha": 0.1, "l1": [0.0, 2.0], "l2": [0.0, 0.1], "delta": None},
    ),
    "ProximalAdagrad": (
        "var accum", {"lr": 0.1, "l1": [0.0, 2.0], "l2": [0.0, 0.1], "grad": None},
    ),
    "AddSign": ("var m", {"lr": 0.1, "alpha": 1.5, "sign_decay": 0.8, "beta": 0.9, "grad": None}),
    "PowerSign": ("var m", {"lr": 0.1, "logbase": 0.7, "sign_decay": 0.8, "beta": 0.9, "grad": None}),
}  # fmt: skip

FLAGS = {
    "Momentum": "use_nesterov", "KerasMomentum": "use_nesterov", "Adam": "use_nesterov",
    "Adagrad": "update_slots", "AdagradV2": "update_slots",
    "Ftrl": "multiply_linear_by_lr", "FtrlV2": "multiply_linear_by_lr",
}  # fmt: skip

# Some units in the last place more than one operation has: these are ten or so in a row.
CLOSE = {"float16": 5e-3, "bfloat16": 4e-2, "float32": 5e-6, "complex64": 5e-6, "float64": 1e-12, "complex128": 1e-12}

DENSE = [
    "ApplyGradientDescent", "ApplyMomentum", "ApplyAdam", "ApplyAdaMax", "ApplyAdagrad", "ApplyAdagradV2",
    "ApplyAdagradDA", "ApplyAdadelta", "ApplyRMSProp", "ApplyCenteredRMSProp", "ApplyFtrl", "ApplyFtrlV2",
    "ApplyProximalGradientDescent", "ApplyProximalAdagrad", "ApplyAddSign", "ApplyPowerSign",
    "ResourceApplyGradientDescent", "ResourceApplyMomentum", "ResourceApplyKerasMomentum", "ResourceApplyAdam",
    "ResourceApplyAdamWithAmsgrad", "ResourceApplyAdaMax", "ResourceApplyAdagrad", "ResourceApplyAdagradV2",
    "ResourceApplyAdagradDA", "ResourceApplyAdadelta", "ResourceApplyRMSProp", "ResourceApplyCenteredRMSProp",
    "ResourceApplyFtrl", "ResourceApplyFtrlV2", "ResourceApplyProximalGradientDescent",
    "ResourceApplyProximalAdagrad", "ResourceApplyAddSign", "ResourceApplyPowerSign",
]  # fmt: skip

SPARSE = [
    "SparseApplyMomentum", "SparseApplyAdagrad", "SparseApplyAdagradV2", "SparseApplyAdagradDA",
    "SparseApplyAdadelta", "SparseApplyRMSProp", "SparseApplyCenteredRMSProp", "SparseApplyFtrl",
    "SparseApplyFtrlV2", "SparseApplyProximalGradientDescent", "SparseApplyProximalAdagrad",
    "ResourceSparseApplyMomentum", "ResourceSparseApplyKerasMomentum", "ResourceSparseApplyAdagrad",
    "ResourceSparseApplyAdagradV2", "ResourceSparseApplyAdagradDA", "ResourceSparseApplyAdadelta",
    "ResourceSparseApplyRMSProp", "ResourceSparseApplyCenteredRMSProp", "ResourceSparseApplyFtrl",
    "ResourceSparseApplyFtrlV2", "ResourceSparseApplyProximalGradientDescent",
    "ResourceSparseApplyProximalAdagrad",
]  # fmt: skip


def random_array(shape: tuple[int, ...], dtype: str, seed: int, positive: bool = False) -> np.ndarray:
    source = np.random.RandomState(seed)
    values = source.uniform(0.2, 2, shape) if positive else source.randn(*shape)
    if dtype.startswith("complex"):
        values = values + 1j * source.uniform(0.1, 1, shape)
    return np.asarray(values).astype(tf.as_dtype(dtype).as_numpy_dtype)


def combinations(scalars: dict[str, Any]) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = [{}]
    for name, value in scalars.items():
        cases = [{**c, name: v} for c in cases for v in (value if isinstance(value, list) else [value])]
    return cases


def run(
    op_name: str,
    dtype: str,
    scalars: dict[str, Any],
    shape: tuple[int, ...] = (5, 3),
    indices: np.ndarray | None = None,
    runs: int = 2,
    replace: dict[str, np.ndarray] | None = None,
    refused: bool = False,
    **attributes: Any,
) -> None:
    """Runs the op on fresh variables a few times and compares the variables after each run."""
    name = op_name.split("Apply")[1]
    states, resource = SCALARS[name][0].split(), op_name.startswith("Resource")
    replace = replace or {}
    numpy = tf.as_dtype(dtype).as_numpy_dtype
    grad_shape = shape if indices is None else (indices.size, *shape[1:])
    values: dict[str, np.ndarray] = {}
    for key, value in scalars.items():
        sparse_key = "grad" if indices is not None and key == "delta" else key
        if value is None:
            values[sparse_key] = random_array(grad_shape, dtype, 7)
            if indices is not None:
                values["indices"] = indices
        else:
            values[key] = value if isinstance(value, np.generic) else np.asarray(value).astype(numpy)
    values.update({k: v for k, v in replace.items() if k in values})

    def build() -> Any:
        variables = [
            tf.Variable(replace.get(s, random_array(shape, dtype, i, positive=i > 0)), use_resource=resource, name=s)
            for i, s in enumerate(states)
        ]
        references = [v.handle if resource else v._ref() for v in variables]
        feeds = {k: tf.placeholder(np.asarray(v).dtype, None, f"in_{k}") for k, v in values.items()}
        given = dict(zip(states, references, strict=True))
        result = getattr(tf.raw_ops, op_name)(**given, **feeds, **attributes, name="op")
        with tf.control_dependencies([result]):
            return [v.read_value() if resource else tf.identity(v) for v in variables]

    feeds = {f"in_{k}:0": np.asarray(v) for k, v in values.items()}
    prepare = tuple(f"{s}/Assign" for s in states)
    close = CLOSE[dtype]
    note = f"{op_name} {dtype} {scalars} {attributes}"
    check_sessions(build, runs, feeds, prepare, rtol=close, atol=close, refused=refused, note=note)


def cases(op_name: str) -> tuple[list[dict[str, Any]], list[str], list[dict[str, bool]]]:
    """Hyperparameters to try, the dtypes that TensorFlow has kernels for, attributes to try."""
    name = op_name.split("Apply")[1]
    kinds = {
        tf.as_dtype(constraint.allowed_values.list.type[0]).name
        for kernel in kernels.get_registered_kernels_for_op(op_name).kernel
        if kernel.device_type == "CPU"
        for constraint in kernel.constraint
        if constraint.name == "T"
    }
    flags = [{FLAGS[name]: flag} for flag in (False, True)] if name in FLAGS else [{}]
    return combinations(SCALARS[name][1]), sorted(kinds), flags


@pytest.mark.parametrize("op_name", DENSE)
def test_dense_ops_leave_what_tensorflow_leaves(op_name: str) -> None:
    options, kinds, flags = cases(op_name)
    for scalars in options:
        for attributes in flags:
            run(op_name, "float32", scalars, **attributes)
    for dtype in kinds:
        for attributes in flags:
            run(op_name, dtype, options[-1], **attributes)
    for shape in ((), (0,), (2, 0, 3), (1,)):
        run(op_name, "float32", options[0], shape)


@pytest.mark.parametrize("op_name", SPARSE)
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_sparse_ops_leave_what_tensorflow_leaves(op_name: str, index: Any) -> None:
    options, kinds, flags = cases(op_name)
    some = np.array([4, 0, 3], index)
    repeated = np.array([1, 3, 1, 1, 0, 3], index)
    for scalars in options:
        for attributes in flags:
            run(op_name, "float32", scalars, indices=repeated, **attributes)
    for dtype in kinds:
        for attributes in flags:
            run(op_name, dtype, options[-1], indices=some, runs=1, **attributes)
    run(op_name, "float32", options[0], indices=some[:0])
    run(op_name, "float32", options[0], (5,), indices=repeated)
    run(op_name, "float32", options[0], (5, 2, 2), indices=some)


@pytest.mark.parametrize("op_name", DENSE)
def test_dense_ops_refuse_what_does_not_fit(op_name: str) -> None:
    options, _, _ = cases(op_name)
    states, scalars = SCALARS[op_name.split("Apply")[1]][0].split(), options[0]
    gradient = "delta" if "delta" in scalars else "grad"
    run(op_name, "float32", scalars, replace={gradient: np.ones((5, 2), np.float32)}, refused=True)
    for name, value in scalars.items():
        if value is not None and name != "sign_decay":  # TensorFlow aborts at that
            wrong = np.full(2, value, np.asarray(value).dtype if isinstance(value, np.generic) else np.float32)
            run(op_name, "float32", scalars, replace={name: wrong}, refused=True)
    # A slot of another shape than its variable makes TensorFlow abort.
    op = registry.lookup(op_name)
    assert op is not None
    kernel, state = op.bind("op", {}, {}), KernelState()
    handles = [Handle(name, name) for name in states]
    inputs = [np.ones((5, 3), np.float32) if v is None else np.float32(v) for v in scalars.values()]
    for slot in states[1:]:
        for handle in handles:
            state.write(handle, np.ones((5, 2) if handle.name == slot else (5, 3), np.float32))
        with pytest.raises(ValueError, match=r"must have the same shape, found \[5, 3\] and \[5, 2\]"):
            kernel(state, *handles, *inputs)


@pytest.mark.parametrize("op_name", SPARSE)
def test_sparse_ops_refuse_what_does_not_fit(op_name: str) -> None:
    options, _, _ = cases(op_name)
    scalars, some = options[0], np.array([4, 0, 3])
    for wrong in (np.array([4, 0, 5]), np.array([4, 0, -1])):
        run(op_name, "float32", scalars, indices=wrong, refused=True)
    for grad in (np.ones((2, 3), np.float32), np.ones((3, 2), np.float32)):
        run(op_name, "float32", scalars, indices=some, replace={"grad": grad}, refused=True)
    run(op_name, "float32", scalars, indices=some, replace={"indices": some[:, None]}, refused=True)


def test_big_variables_are_trained_as_small_ones_are() -> None:
    options, _, _ = cases("ApplyAdam")
    run("ApplyAdam", "float32", options[0], (701, 303))
    run("ResourceApplyFtrl", "float32", cases("ApplyFtrl")[0][-1], (701, 303), runs=1)


def test_what_was_read_before_a_step_does_not_change() -> None:
    # The session's state makes written arrays read-only: a kernel that wrote in place would fail.
    for op_name in ("ApplyAdam", "SparseApplyAdagrad"):
        options, _, _ = cases(op_name)
        run(op_name, "float32", options[0], indices=np.array([1]) if "Sparse" in op_name else None, runs=4)


OPTIMIZERS = {
    "descent": lambda: tf.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "nesterov": lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "adam": lambda: tf.train.AdamOptimizer(0.01),
    "adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "adadelta": lambda: tf.train.AdadeltaOptimizer(1.0),
    "rmsprop": lambda: tf.train.RMSPropOptimizer(0.01, momentum=0.5),
    "centered": lambda: tf.train.RMSPropOptimizer(0.01, centered=True),
    "ftrl": lambda: tf.train.FtrlOptimizer(0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.01),
    "proximal": lambda: tf.train.ProximalGradientDescentOptimizer(0.1, 0.01, 0.01),
    "proximal_adagrad": lambda: tf.train.ProximalAdagradOptimizer(0.1, l1_regularization_strength=0.01),
    "dual_averaging": lambda: tf.train.AdagradDAOptimizer(
        0.1, tf.train.get_or_create_global_step(), l1_regularization_strength=0.01
    ),
}


@pytest.mark.parametrize("use_resource", [False, True], ids=["references", "resources"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_saved_model_starts_and_trains_as_in_tensorflow(optimizer: str, use_resource: bool, tmp_path: Path) -> None:
    numbers = np.random.RandomState(0)
    batches = [
        {"x:0": np.float32(numbers.randn(16, 4)), "y:0": np.float32(numbers.randn(16, 1)),
         "ids:0": np.int32(numbers.randint(0, 6, 8))}
        for _ in range(20)
    ]  # fmt: skip
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(3)
        with tf.variable_scope("", use_resource=use_resource):
            x, y = tf.placeholder(tf.float32, [None, 4], "x"), tf.placeholder(tf.float32, [None, 1], "y")
            ids = tf.placeholder(tf.int32, [None], "ids")
            w = tf.get_variable("w", [4, 8], initializer=tf.truncated_normal_initializer(stddev=0.5))
            b = tf.get_variable("b", [8], initializer=tf.random_uniform_initializer(-1, 1))
            v = tf.get_variable("v", [8, 1], initializer=tf.glorot_normal_initializer())
            table = tf.get_variable("table", [6, 3], initializer=tf.random_normal_initializer())
            loss = tf.reduce_mean(tf.square(tf.tanh(x @ w + b) @ v - y))
            loss += tf.reduce_mean(tf.square(tf.nn.embedding_lookup(table, ids)))
            step = tf.train.get_or_create_global_step()
        train = OPTIMIZERS[optimizer]().minimize(loss, global_step=step, name="train_step")
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(tmp_path / "model"))
        started = {v.op.name: session.run(v) for v in tf.global_variables()}
        for feeds in batches:
            session.run(train, feeds)
        trained = {v.op.name: session.run(v) for v in tf.global_variables()}

    model = gr.load(str(tmp_path / "model"))
    model.initialize()
    for name, value in started.items():
        np.testing.assert_allclose(model.variables[name], value, rtol=1e-6, atol=1e-7, err_msg=name)
    for feeds in batches:
        model.run("train_step", feeds)
    assert trained["global_step"] == len(batches)
    for name, value in trained.items():
        np.testing.assert_allclose(model.variables[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
