"""Programs written with TensorFlow's Python API, run by TensorFlow and by graphrack.

A program is a function that builds a graph: it makes its inputs with `fed` and returns tensors (or variables, sparse,
ragged, nested ones) and operations. `agree` has it built once of inputs of known shapes and once of shapes as unknown
as it can be built with, runs both by TensorFlow and by graphrack, and compares dtypes, shapes and values, and, where
TensorFlow can differentiate the program, the gradients in its floating-point inputs and trainable variables too.
"""

from __future__ import annotations

import tempfile
import types
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from comparing import compare
from ops import judged
from recording import Refusal, Run, record
from tf_models import PLAIN

import graphrack as gr
from graphrack.errors import GraphrackError

Program = Callable[[], Any]
Shape = Callable[[Any], Any]

BOUNDS = {"float16": 1e-2, "bfloat16": 8e-2, "float32": 1e-4, "complex64": 1e-4, "float64": 1e-9, "complex128": 1e-9}


class _Inputs:
    """The placeholders of the graph that is being built with their values, and the shapes that they get."""

    def __init__(self, shape: Shape):
        self.shape = shape
        self.feeds: list[tuple[Any, Any]] = []


def _known(array: Any) -> Any:
    return array.shape


def _rankless(array: Any) -> Any:
    return None


def _sizeless(array: Any) -> Any:
    return (None,) * array.ndim


_INPUTS = _Inputs(_rankless)


def fed(value: Any, dtype: Any = None, shape: Any = None) -> Any:
    """A placeholder that gets this value; of the shape that the program is built with, unless one is given."""
    array = np.asarray(value) if dtype is None else np.asarray(value).astype(dtype)
    if array.dtype.kind in "US":
        array = np.array([v.encode() if isinstance(v, str) else v for v in array.ravel()], object).reshape(array.shape)
    # What is fed waits for nothing: a node that takes it must have the control inputs itself.
    with tf.control_dependencies(None):
        kind = tf.string if array.dtype.hasobject else tf.as_dtype(array.dtype)
        placeholder = tf.placeholder(kind, _INPUTS.shape(array) if shape is None else shape)
    _INPUTS.feeds.append((placeholder, array))
    return placeholder


def functions(namespace: Any) -> list[str]:
    """The names of a namespace's public functions (no modules, and no classes but of a class that lists them)."""
    kept: Any = types.ModuleType if isinstance(namespace, type) else (type, types.ModuleType)
    return sorted(
        name
        for name in dir(namespace)
        if not name.startswith("_")
        and callable(getattr(namespace, name))
        and not isinstance(getattr(namespace, name), kept)
    )


def _flat(results: Any) -> list[Any]:
    """The tensors and operations of whatever a program gives."""
    results = list(results) if isinstance(results, (map, filter, types.GeneratorType)) else results
    leaves = [tf.convert_to_tensor(r) if isinstance(r, tf.Variable) else r for r in tf.nest.flatten(results)]
    parts = [r for r in tf.nest.flatten(leaves, expand_composites=True) if r is not None]
    return [r if isinstance(r, tf.Operation) else tf.convert_to_tensor(r) for r in parts]


def _weights(output: Any) -> Any:
    """Different gradients for the elements of an output, that don't change from run to run."""
    if output.shape.is_fully_defined():
        sizes = np.arange(output.shape.num_elements()) % 7 + 1
        return tf.constant((sizes / 4).reshape(output.shape.as_list()), output.dtype)
    return tf.reshape(tf.cast(tf.range(tf.size(output)) % 7 + 1, output.dtype) / 4, tf.shape(output))


def _gradients(results: list[Any], inputs: list[Any]) -> list[Any]:
    """The gradients of what is differentiable; none where TensorFlow has no gradient."""
    floats = [r for r in results if isinstance(r, tf.Tensor) and (r.dtype.is_floating or r.dtype.is_complex)]
    wanted = [i for i in inputs if i.dtype.is_floating or i.dtype.is_complex]
    if not floats or not wanted:
        return []
    try:
        found = tf.gradients(floats, wanted, [_weights(each) for each in floats])
    except (LookupError, ValueError, TypeError, NotImplementedError, AssertionError, AttributeError, RuntimeError):
        return []
    found = [g for g in found if g is not None]
    dense = [tf.convert_to_tensor(g) for g in found if not isinstance(g, tf.Tensor)]
    return [*_flat(found), *dense]


class _Built(NamedTuple):
    """A graph that holds a program once for each kind of shapes: the names of what to fetch of each."""

    graph: Any
    fetches: list[list[str]]
    gradients: set[str]
    feeds: dict[str, Any]


def _build(program: Program, shapes: Sequence[Shape], gradients: bool) -> _Built:
    del _INPUTS.feeds[:]
    fetches: list[list[str]] = []
    slopes: set[str] = set()
    with tf.Graph().as_default() as graph, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of functions that are deprecated
        tf.set_random_seed(7)
        for shape in shapes:
            _INPUTS.shape = shape
            inputs, variables = len(_INPUTS.feeds), len(tf.trainable_variables())
            with tf.variable_scope(shape.__name__.strip("_")):
                outputs = _flat(program())
                sources = [p for p, _ in _INPUTS.feeds[inputs:]] + tf.trainable_variables()[variables:]
                found = _gradients(outputs, sources) if gradients else []
            assert outputs, "the program gives nothing"
            fetches.append([each.name for each in [*outputs, *found]])
            slopes |= {each.name for each in found}
        tf.group(tf.global_variables_initializer(), tf.local_variables_initializer(), name="api_init")
        tf.tables_initializer(name="api_tables")
    return _Built(graph, fetches, slopes, {placeholder.name: value for placeholder, value in _INPUTS.feeds})


def _built(program: Program, known: bool, hidden: bool, gradients: bool) -> _Built:
    """The program of known shapes and of hidden ones, as far as TensorFlow can build it of these."""
    hiding: list[list[Shape]] = [[_rankless], [_sizeless]] if hidden else []
    attempts: list[list[Shape]] = [*([_known, *each] for each in hiding), [_known]] if known else []
    # Shapes may have to be known to build it; and known ones may be refused when it is built, hidden ones when it runs.
    attempts += [*hiding, [_known]]
    for shapes in attempts[:-1]:
        try:
            return _build(program, shapes, gradients)
        except (ValueError, TypeError, AttributeError, IndexError):
            continue
    return _build(program, attempts[-1], gradients)


def agree(
    program: Program,
    *,
    runs: int = 1,
    rtol: float | None = None,
    gradients: bool = True,
    known: bool = True,
    hidden: bool = True,
) -> None:
    """Asserts that graphrack gives what TensorFlow gives, in each of several runs after the initialisers.

    Attributes:
        rtol: how close values must be, in proportion to the greatest, pixels too; None for the bound of the least
            precise type that occurs, and for pixels that are equal.
        gradients: whether those are compared.
        known, hidden: whether the program is built of known and of hidden shapes.
    """
    judged.case()
    built = _built(program, known, hidden, gradients)
    data, feeds = built.graph.as_graph_def().SerializeToString(), built.feeds
    prepared = Run(["api_init", "api_tables"], {}, [None, None])
    expected: list[Run] = []
    # The graph optimiser takes the wrong branch of conds on ranks that are unknown.
    with tf.Session(graph=built.graph, config=PLAIN) as session:
        session.run(prepared.fetches)
        for fetches in built.fetches * runs:
            try:
                values = session.run(fetches, {name: value.copy() for name, value in feeds.items()})
            except (tf.errors.OpError, ValueError) as error:
                values = Refusal(str(error))
            expected.append(Run(fetches, feeds, values))
    _compare(data, prepared, expected, rtol, built.gradients)


def _compare(data: bytes, prepared: Run, expected: list[Run], rtol: float | None, gradients: set[str]) -> None:
    outputs = [value for one in expected if not isinstance(one.values, Refusal) for value in one.values]
    bound = rtol or max((_bound(value) for value in [*outputs, *expected[0].feeds.values()]), default=0)
    largest = max(map(_scale, outputs), default=1.0)
    kept = [
        one
        if isinstance(one.values, Refusal)
        else one._replace(values=[None if rtol is not None and _pixels(v) else v for v in one.values])
        for one in expected
    ]
    record(data, [prepared, *kept], bound, bound * largest)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.pb"
        path.write_bytes(data)
        model = gr.load(path, engine="numpy")
        model.run(list(prepared.fetches))
        for number, one in enumerate(expected):
            found = _run(model, one)
            if isinstance(one.values, Refusal) or isinstance(found, Refusal):
                both = isinstance(one.values, Refusal) and isinstance(found, Refusal)
                assert both, f"run {number}: graphrack {str(found)[:500]}; TensorFlow {str(one.values)[-600:]}"
                judged.refusal(str(one.values))
                continue
            for name, ours, theirs in zip(one.fetches, found, one.values, strict=True):
                if theirs is None:
                    continue
                # What should cancel out is as far from zero as what it is made of.
                scale = max(_scale(theirs), 0.01 * largest)
                note = f"run {number}: {'gradient ' if name in gradients else ''}{name}"
                if rtol is not None and _pixels(theirs):
                    assert ours.dtype == theirs.dtype, f"{note}: {ours.dtype}, TensorFlow's {theirs.dtype}"
                    scale = np.iinfo(theirs.dtype).max
                    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
                compare(ours, theirs, bound, bound * scale, note)
                judged.value()


def _pixels(value: Any) -> bool:
    return np.asarray(value).dtype.kind == "u"


def _bound(value: Any) -> float:
    return BOUNDS.get(str(np.asarray(value).dtype), 0)


def _scale(value: Any) -> float:
    """The size of the largest number: what is compared is sums, whose errors are of that size."""
    array = np.asarray(value)
    if array.dtype.kind not in "fcV" or not array.size:
        return 1.0
    sizes = np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
    finite = sizes[np.isfinite(sizes)]
    return float(finite.max()) if finite.size else 1.0


def _run(model: gr.Model, one: Run) -> Any:
    try:
        # As a session, a model gives strings of rank 0 as bytes.
        found = model.run(list(one.fetches), one.feeds)
        return [np.array(v, object) if isinstance(v, bytes) else v for v in found]
    except GraphrackError as error:
        return Refusal(str(error))


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
        """Adds a program that tests a function (or what a name's first part means); `options` are for `agree`."""
        self.programs.append((name, program, options))

    def __call__(self, name: str, *args: Any, dtypes: Iterable[Any] = (), use: Any = None, **kwargs: Any) -> None:
        """Adds a call of a function: arrays among the arguments are fed.

        Attributes:
            dtypes: the arrays of floats are cast to each of these; else they stay what they are.
            use: what to call with the function and the arguments, where these are to be made of tensors, or its
                outputs are no tensors.
            runs, rtol, gradients, known, hidden: for `agree`.
        """
        function = attrgetter(name)(self.namespace)
        options = {key: kwargs.pop(key) for key in ("runs", "rtol", "gradients", "known", "hidden") if key in kwargs}
        for number, dtype in enumerate(tuple(dtypes) or (None,)):

            def program(dtype: Any = dtype) -> Any:
                given, named = _placed((args, kwargs), dtype)
                return function(*given, **named) if use is None else use(function, *given, **named)

            # Known shapes once: dtypes don't change what they mean.
            self.build(name, program, **{"known": number == 0, **options})

    def parameters(self) -> list[Any]:
        """A case of `pytest.mark.parametrize` for each program."""
        counts: dict[str, int] = {}
        found = []
        for name, program, options in self.programs:
            counts[name] = counts.get(name, 0) + 1
            found.append(pytest.param(program, options, id=f"{name}-{counts[name]}"))
        return found

    def missing(self) -> list[str]:
        """Functions that have neither programs nor a reason why not, or both; and names that there aren't."""
        names = set(functions(self.namespace))
        programs, reasons = (
            {name.partition(" ")[0] for name, _, _ in self.programs if "." not in name},
            set(self.without),
        )
        listed = programs | reasons
        both = {f"{name} (programs and a reason for none)" for name in programs & reasons}
        return sorted((names - listed - self.elsewhere) | both | {f"{name} (there is none)" for name in listed - names})


def _placed(value: Any, dtype: Any) -> Any:
    """Arguments with placeholders in place of arrays, inside tuples, lists and dicts too."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = np.asarray(value)
        return fed(value, dtype if dtype is not None and value.dtype.kind in "fc" else None)
    if isinstance(value, dict):
        return {key: _placed(each, dtype) for key, each in value.items()}
    if isinstance(value, tf.SparseTensorValue):
        return tf.SparseTensor(*(_placed(np.asarray(each), dtype) for each in value))
    if isinstance(value, tf.ragged.RaggedTensorValue):
        return _ragged(value, dtype)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_placed(each, dtype) for each in value))
    if isinstance(value, (tuple, list)):
        return type(value)(_placed(each, dtype) for each in value)
    return value


def _ragged(value: Any, dtype: Any) -> Any:
    inner = value.values
    given = (
        _ragged(inner, dtype) if isinstance(inner, tf.ragged.RaggedTensorValue) else _placed(np.asarray(inner), dtype)
    )
    return tf.RaggedTensor.from_row_splits(given, _placed(np.asarray(value.row_splits), None), validate=False)
