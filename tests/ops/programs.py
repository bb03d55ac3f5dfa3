"""Programs of TensorFlow's Python functions: built and run by TensorFlow, their graphs run by graphrack.

A table of programs belongs to a namespace of `tf`. `table(name, *args, **kwargs)` adds a call of the namespace's
function of that name; NumPy arrays among the arguments are fed through placeholders, once of their shapes and once
of shapes as unknown as the function can be built with. Gradients of the outputs to the inputs are compared too
where TensorFlow has them.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
from comparing import compare
from recording import Refusal, Run, record

import graphrack as gr
from graphrack.errors import GraphrackError

BOUNDS = {"float16": 1e-2, "bfloat16": 8e-2, "float32": 1e-4, "complex64": 1e-4, "float64": 1e-9, "complex128": 1e-9}
FLOATS = ("float32", "float16", "float64", "bfloat16")


class Fixed:
    """An argument that goes to the function as it is: an array that becomes a constant."""

    def __init__(self, value: Any):
        self.value = value


class Program(NamedTuple):
    """One call.

    Attributes:
        function: makes tensors of the current graph.
        args, kwargs: its arguments, arrays in place of placeholders.
        rtol: how close values must be, pixels in proportion to the greatest; None for the bound of the least
            precise type that occurs, and for pixels that are equal.
        gradients: whether those are compared.
        unknown: whether the shapes are hidden, too.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    rtol: float | None
    gradients: bool
    unknown: bool


class Table:
    """The programs of one namespace, and its functions that have none, with the reason."""

    def __init__(self, namespace: Any, without: Mapping[str, str]):
        self.namespace = namespace
        self.without = without
        self.programs: list[Program] = []

    def __call__(
        self,
        name: str,
        *args: Any,
        dtypes: Sequence[str] = (),
        rtol: float | None = None,
        gradients: bool = True,
        unknown: bool = True,
        use: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Adds a program of a function.

        Attributes:
            dtypes: floating-point arguments are cast to each of these; else they stay what they are.
            use: what to call in its place, with the function and the arguments, where its outputs are no tensors,
                or its arguments are made of tensors.
        """
        function = self.namespace
        for part in name.split("."):
            function = getattr(function, part)
        call = function if use is None else lambda *a, **k: use(function, *a, **k)
        for dtype in dtypes or (None,):
            given = (args, kwargs) if dtype is None else _map(lambda value, to=dtype: _cast(value, to), (args, kwargs))
            # Hidden shapes once: dtypes don't change what they mean.
            hidden = unknown and dtype in (None, dtypes[0] if dtypes else None)
            self.programs.append(Program(name, call, *given, rtol, gradients, hidden))

    def ids(self) -> list[str]:
        """A name for each program."""
        seen: dict[str, int] = {}
        names = []
        for program in self.programs:
            seen[program.name] = seen.get(program.name, 0) + 1
            names.append(f"{program.name}-{seen[program.name]}")
        return names

    def check_complete(self) -> None:
        """Every public function of the namespace has a program, or a reason why not; none has both."""
        public = {name for name in dir(self.namespace) if not name.startswith("_")}
        tested = {program.name.partition(".")[0] for program in self.programs}
        assert public - tested - set(self.without) == set(), "neither programs nor reasons"
        assert tested & set(self.without) == set(), "programs and reasons"
        assert set(self.without) <= public, "reasons for what there isn't"


def _map(change: Callable[[Any], Any], value: Any) -> Any:
    """The value with its arrays changed, inside tuples, lists and dicts too."""
    if isinstance(value, (np.ndarray, np.generic)):
        return change(value)
    if isinstance(value, dict):
        return {key: _map(change, each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_map(change, each) for each in value))
    if isinstance(value, (tuple, list)):
        return type(value)(_map(change, each) for each in value)
    return value


def _cast(value: Any, dtype: str) -> Any:
    return value.astype(tf.as_dtype(dtype).as_numpy_dtype) if value.dtype.kind == "f" else value


def _tensors(results: Any) -> Iterator[Any]:
    """The tensors of whatever a function gives."""
    if isinstance(results, (tf.Tensor, tf.Variable)):
        yield results
    elif isinstance(results, tf.Operation):
        pass
    elif isinstance(results, (tf.SparseTensor, tf.SparseTensorValue)):
        yield from (results.indices, results.values, results.dense_shape)
    elif isinstance(results, tf.IndexedSlices):
        yield from (results.values, results.indices)
    elif isinstance(results, (tuple, list)):
        for each in results:
            yield from _tensors(each)
    elif isinstance(results, dict):
        for key in sorted(results):
            yield from _tensors(results[key])
    else:
        assert results is None or isinstance(results, (int, float)), f"{type(results)} has no tensors"


def _shapes(hidden: bool) -> list[Callable[[Any], Any]]:
    known = [lambda value: value.shape]
    if not hidden:
        return known
    # What can't be built of unknown rank is built of unknown sizes.
    return [lambda value: None, lambda value: (None,) * value.ndim]


def _build(program: Program, shape: Callable[[Any], Any]) -> tuple[dict[str, Any], list[Any]]:
    """Feeds, and tensors to compare: outputs, and gradients where there are any."""
    feeds: dict[str, Any] = {}

    def placeholder(value: Any) -> Any:
        dtype = tf.string if value.dtype.kind in "OSU" else tf.as_dtype(value.dtype)
        tensor = tf.placeholder(dtype, shape(np.asarray(value)))
        feeds[tensor.name] = np.asarray(value)
        return tensor

    args, kwargs = _map(placeholder, (program.args, program.kwargs))
    args = [each.value if isinstance(each, Fixed) else each for each in args]
    kwargs = {key: each.value if isinstance(each, Fixed) else each for key, each in kwargs.items()}
    outputs = list(_tensors(program.function(*args, **kwargs)))
    assert outputs, f"{program.name} gives no tensors"
    floats = [each for each in outputs if each.dtype.is_floating or each.dtype.is_complex]
    inputs = [tf.get_default_graph().get_tensor_by_name(name) for name in feeds]
    inputs = [each for each in inputs if each.dtype.is_floating or each.dtype.is_complex] + tf.trainable_variables()
    if program.gradients and floats and inputs:
        try:
            found = tf.gradients(floats, inputs, [_weights(each) for each in floats])
        except (LookupError, ValueError):  # an op on the way has no gradient, or none for such shapes
            found = []
        outputs += [tensor for each in found for tensor in _tensors(each)]
    return feeds, outputs


def _weights(output: Any) -> Any:
    """Different gradients for the elements of an output, that don't change from run to run."""
    weights = tf.cast(tf.range(tf.size(output)) % 7 + 1, output.dtype) / 4
    return tf.reshape(weights, tf.shape(output))


def judge(program: Program, folder: Path) -> None:
    """Has TensorFlow build and run a program, saves its graph, and asserts that graphrack gives the same."""
    _judge(program, [lambda value: value.shape], folder)
    if program.unknown:
        _judge(program, _shapes(hidden=True), folder)


# TensorFlow as it stands: its graph optimiser takes the wrong branch of conds on ranks that are unknown.
CONFIG = tf.ConfigProto()
CONFIG.graph_options.rewrite_options.disable_meta_optimizer = True


def _judge(program: Program, shapes: Sequence[Callable[[Any], Any]], folder: Path) -> None:
    for i, shape in enumerate(shapes):
        with tf.Graph().as_default() as graph, tf.Session(config=CONFIG) as session, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of functions that are deprecated
            tf.set_random_seed(7)
            try:
                feeds, tensors = _build(program, shape)
            except (ValueError, TypeError, AttributeError, IndexError):
                if i + 1 < len(shapes):
                    continue
                if len(shapes) > 1:
                    return  # shapes must be known to build this
                raise
            variables = tf.global_variables()
            initializer = [tf.global_variables_initializer().name] if variables else []
            names = [tensor.name for tensor in tensors]
            data = graph.as_graph_def().SerializeToString()
            session.run(initializer)
            try:
                expected = session.run(names, feeds)
            except tf.errors.OpError as error:
                expected = Refusal(str(error))
        _compare(program, data, initializer, names, feeds, expected, folder)
        return


def _compare(
    program: Program,
    data: bytes,
    initializer: list[str],
    names: list[str],
    feeds: dict[str, Any],
    expected: Any,
    folder: Path,
) -> None:
    refusal = isinstance(expected, Refusal)
    outputs = [] if refusal else expected
    types = [str(value.dtype) for value in [*outputs, *feeds.values()] if hasattr(value, "dtype")]
    bound = program.rtol or max((BOUNDS.get(name, 0) for name in types), default=0)
    largest = max(map(_scale, outputs), default=1.0)
    prepared = [Run(initializer, {}, [None])] if initializer else []
    kept = expected if refusal else [None if _near_pixels(program, value) else value for value in expected]
    record(data, [*prepared, Run(names, feeds, kept)], bound, bound * largest)
    path = folder / "program.pb"
    path.write_bytes(data)
    model = gr.load(path, engine="numpy")
    if initializer:
        model.run(initializer)
    found: Any
    try:
        found = [np.array(each, object) if isinstance(each, bytes) else each for each in model.run(names, feeds)]
    except GraphrackError as error:
        found = Refusal(str(error))
    if refusal or isinstance(found, Refusal):
        both = refusal and isinstance(found, Refusal)
        assert both, f"{program.name}: TensorFlow {str(expected)[-600:]}; graphrack {str(found)[:600]}"
        return
    for name, ours, theirs in zip(names, found, expected, strict=True):
        # What should cancel out is as far from zero as what it is made of.
        scale = max(_scale(theirs), 0.01 * largest)
        if _near_pixels(program, theirs):
            assert ours.dtype == theirs.dtype, f"{program.name}: {ours.dtype}, TensorFlow's {theirs.dtype}"
            ours, theirs, scale = ours.astype(np.float64), theirs.astype(np.float64), np.iinfo(theirs.dtype).max
        compare(
            ours, theirs, bound, bound * scale, f"{program.name} {inspect.cleandoc(str(program.kwargs))[:200]} {name}"
        )


def _near_pixels(program: Program, value: Any) -> bool:
    """Whether these are pixels that need not be equal."""
    return program.rtol is not None and np.asarray(value).dtype.kind == "u"


def _scale(value: Any) -> float:
    """The size of the largest number: what is compared is sums, whose errors are of that size."""
    array = np.asarray(value)
    if array.dtype.kind not in "fcV" or not array.size:
        return 1.0
    sizes = np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
    finite = sizes[np.isfinite(sizes)]
    return float(finite.max()) if finite.size else 1.0
