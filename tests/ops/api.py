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
import pytest
import tensorflow.compat.v1 as tf
from comparing import compare
from recording import Refusal, Run, record

import graphrack as gr
from graphrack.errors import GraphrackError

Program = Callable[[], Any]

BOUNDS = {"float16": 1e-2, "bfloat16": 8e-2, "float32": 1e-4, "complex64": 1e-4, "float64": 1e-9, "complex128": 1e-9}

_FEEDS: list[tuple[Any, Any]] = []


def fed(value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """A placeholder, of unknown shape unless one is given, that gets this value."""
    array = np.asarray(value) if dtype is None else np.asarray(value).astype(dtype)
    if array.dtype.kind in "US":
        array = np.array([v.encode() if isinstance(v, str) else v for v in array.ravel()], object).reshape(array.shape)
    # What is fed waits for nothing: a node that takes it must have the control inputs itself.
    with tf.control_dependencies(None):
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
    prepared = Run(["api_init", "api_tables"], {}, [None, None])
    values = [Refusal(str(e)) if isinstance(e, Exception) else e for e in expected]
    if not isinstance(expected[0], Exception):
        bound = rtol or max((_bound(v, given) for each in expected if isinstance(each, list) for v in each), default=0)
        record(data, [prepared, *(Run([o.name for o in outputs], given, v) for v in values)], bound, bound)
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
                    kind = "gradient of " if any(output is slope for slope in slopes) else ""
                    bound = _bound(wanted, given) if rtol is None else rtol
                    compare(
                        ours,
                        wanted,
                        bound,
                        _scale(wanted) * bound if atol is None else atol,
                        f"{where}: {kind}{output.name}",
                    )


def _bound(value: Any, feeds: Mapping[str, Any]) -> float:
    """How close a value must come: by the least precise of its own and the fed types."""
    return max(BOUNDS.get(str(np.asarray(each).dtype), 0) for each in (value, *feeds.values()))


def _scale(value: Any) -> float:
    array = np.asarray(value)
    if array.dtype.kind not in "fcV" or not array.size:
        return 1.0
    sizes = np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
    finite = sizes[np.isfinite(sizes)]
    return float(max(finite.max(), 1)) if finite.size else 1.0


def _run(model: gr.Model, fetches: list[str], feeds: dict[str, Any]) -> Any:
    try:
        # As a session, a model gives strings of rank 0 as bytes.
        return [np.array(v, object) if isinstance(v, bytes) else v for v in model.run(fetches, feeds)]
    except GraphrackError as error:
        return error


def _known_as(function: Any) -> Any:
    """What one function under several names has in common; a module may wrap each of them anew."""
    return function.__module__, function.__qualname__


class Programs:
    """The programs of one namespace, and its functions that have none, with the reason."""

    def __init__(self, namespace: Any, without: Mapping[str, str], tested: Iterable[Any] = ()):
        """`tested`: namespaces with programs of their own, whose functions need none here."""
        self.namespace = namespace
        self.without = without
        self.programs: list[tuple[str, Program, dict[str, Any]]] = []
        elsewhere = {_known_as(getattr(other, name)) for other in tested for name in functions(other)}
        self.elsewhere = {name for name in functions(namespace) if _known_as(getattr(namespace, name)) in elsewhere}

    def build(self, name: str, program: Program, **options: Any) -> None:
        """Adds a program that tests a function (or what a name's first part means)."""
        self.programs.append((name, program, options))

    def __call__(
        self, name: str, *args: Any, dtypes: Iterable[Any] = (), use: Any = None, options: Any = None, **kwargs: Any
    ) -> None:
        """Adds a call of a function: arrays among the arguments are fed.

        Attributes:
            dtypes: the arrays of floats are cast to each of these; else they stay what they are.
            use: what to call with the function and the arguments, where these are to be made of tensors.
            options: for `agree`.
        """
        function = getattr(self.namespace, name)
        for dtype in tuple(dtypes) or (None,):

            def program(dtype: Any = dtype) -> Any:
                given, named = _placed((args, kwargs), dtype)
                return function(*given, **named) if use is None else use(function, *given, **named)

            self.build(name, program, **(options or {}))

    def parameters(self) -> list[Any]:
        """A case of `pytest.mark.parametrize` for each program."""
        counts: dict[str, int] = {}
        found = []
        for name, program, options in self.programs:
            counts[name] = counts.get(name, 0) + 1
            found.append(pytest.param(program, options, id=f"{name}-{counts[name]}"))
        return found

    def missing(self) -> list[str]:
        """Functions that have neither programs nor a reason why not, and names in both that there aren't."""
        names = set(functions(self.namespace))
        listed = {name.partition(" ")[0] for name, _, _ in self.programs} | set(self.without)
        return sorted((names - listed - self.elsewhere) | {f"{name} (there is none)" for name in listed - names})


def _placed(value: Any, dtype: Any) -> Any:
    """Arguments with placeholders in place of arrays."""
    if isinstance(value, np.ndarray):
        return fed(value, dtype if dtype is not None and value.dtype.kind in "fc" else None)
    if isinstance(value, dict):
        return {key: _placed(each, dtype) for key, each in value.items()}
    if isinstance(value, (tf.SparseTensorValue, tf.ragged.RaggedTensorValue)):
        kind = tf.SparseTensor if isinstance(value, tf.SparseTensorValue) else None
        return kind(*(_placed(np.asarray(each), dtype) for each in value)) if kind else _ragged(value, dtype)
    if isinstance(value, (tuple, list)):
        return type(value)(_placed(each, dtype) for each in value)
    return value


def _ragged(value: Any, dtype: Any) -> Any:
    inner = value.values
    given = (
        _ragged(inner, dtype) if isinstance(inner, tf.ragged.RaggedTensorValue) else _placed(np.asarray(inner), dtype)
    )
    return tf.RaggedTensor.from_row_splits(given, _placed(np.asarray(value.row_splits), None), validate=False)
