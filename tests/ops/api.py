"""Programs written with TensorFlow's Python API, run by TensorFlow and by graphrack.

A program is a function that builds a graph: it makes its inputs with `fed` and returns tensors (or sparse, ragged,
nested ones) and operations. `agree` runs it both ways and compares dtypes, shapes and values, and, where TensorFlow
can differentiate the program, the gradients in its floating-point inputs too.
"""

from __future__ import annotations

import tempfile
import types
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from ops.harness import compare

import graphrack as gr
from graphrack.errors import GraphrackError

Program = Callable[[], Any]

_FEEDS: list[tuple[Any, Any]] = []


def fed(value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """A placeholder, of unknown shape unless one is given, that gets this value."""
    array = np.asarray(value) if dtype is None else np.asarray(value).astype(dtype)
    if array.dtype.kind in "US":
        array = np.array([v.encode() if isinstance(v, str) else v for v in array.ravel()], object).reshape(array.shape)
    placeholder = tf.placeholder(tf.string if array.dtype.hasobject else tf.as_dtype(array.dtype), shape)
    _FEEDS.append((placeholder, array))
    return placeholder


def functions(namespace: Any) -> list[str]:
    """The names of a namespace's public functions (no classes, no modules)."""
    return sorted(
        name
        for name in dir(namespace)
        if not name.startswith("_")
        and callable(getattr(namespace, name))
        and not isinstance(getattr(namespace, name), (type, types.ModuleType))
    )


def _flat(results: Any) -> list[Any]:
    results = list(results) if isinstance(results, (map, filter, types.GeneratorType)) else results
    return [r for r in tf.nest.flatten(results, expand_composites=True) if r is not None]


def _gradients(results: list[Any], inputs: Iterable[Any]) -> list[Any]:
    """The gradients of what is differentiable; none where TensorFlow has no gradient."""
    floats = [r for r in results if isinstance(r, tf.Tensor) and (r.dtype.is_floating or r.dtype.is_complex)]
    wanted = [i for i in inputs if i.dtype.is_floating or i.dtype.is_complex]
    if not floats or not wanted:
        return []
    try:
        found = tf.gradients(floats, wanted)
    except (LookupError, ValueError, TypeError, NotImplementedError, AssertionError, AttributeError, RuntimeError):
        return []
    return [tf.convert_to_tensor(g) for g in found if g is not None]


def agree(
    program: Program,
    *,
    runs: int = 1,
    rtol: float | None = None,
    atol: float | None = None,
    gradients: bool = True,
    note: str = "",
) -> None:
    """Asserts that graphrack gives what TensorFlow gives, in each of several runs after the initialisers."""
    del _FEEDS[:]
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(7)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results = _flat(program())
            feeds = list(_FEEDS)
            slopes = _gradients(results, [p for p, _ in feeds]) if gradients else []
        outputs = [tf.convert_to_tensor(r) if not isinstance(r, tf.Operation) else r for r in [*results, *slopes]]
        init = tf.group(tf.global_variables_initializer(), tf.local_variables_initializer(), name="api_init")
        tables = tf.tables_initializer(name="api_tables")
        data = graph.as_graph_def().SerializeToString()
        given = {placeholder.name: value for placeholder, value in feeds}
        expected: list[Any] = []
        with tf.Session(graph=graph) as session:
            for _ in range(runs):
                try:
                    if not expected:
                        session.run(init)
                        session.run(tables)
                    expected.append(session.run(outputs, {k: v.copy() for k, v in given.items()}))
                except (tf.errors.OpError, ValueError) as error:
                    expected.append(error)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.pb"
        path.write_bytes(data)
        model = gr.load(path, engine="numpy")
        for run, theirs in enumerate(expected):
            where = f"{note} run {run}"
            if run == 0:
                model.run(["api_init", "api_tables"])
            found = _run(model, [o.name for o in outputs], given)
            if isinstance(theirs, Exception) or isinstance(found, Exception):
                both = isinstance(theirs, Exception) and isinstance(found, Exception)
                assert both, f"{where}: graphrack: {found!s:.500}\nTensorFlow: {theirs!s:.500}"
                continue
            for output, ours, wanted in zip(outputs, found, theirs, strict=True):
                if wanted is not None:
                    kind = "gradient of " if output in slopes else ""
                    compare(ours, wanted, rtol, atol, f"{where}: {kind}{output.name}")


def _run(model: gr.Model, fetches: list[str], feeds: dict[str, Any]) -> Any:
    try:
        return model.run(fetches, feeds)
    except GraphrackError as error:
        return error


def missing(namespace: Any, table: Mapping[str, Any], left_out: Mapping[str, str]) -> list[str]:
    """Public functions that have neither a program nor a reason why not; and names in both that aren't there."""
    names = set(functions(namespace))
    listed = set(table) | set(left_out)
    return sorted((names - listed) | {f"{name} (is none)" for name in listed - names})
