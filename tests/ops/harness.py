"""Runs one op by TensorFlow and by graphrack, and compares what they give.

`check("ConcatV2", values=[a, b], axis=0)`: keyword arguments are the op's inputs and attributes under
the names of TensorFlow's op definition. Inputs given as NumPy arrays (or lists of them) are fed through
placeholders of unknown shape, so that nothing is folded; anything else becomes an attribute, or, where
the op wants a tensor, a constant. Where TensorFlow refuses, graphrack must refuse too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from comparing import compare
from ops import judged
from recording import Refusal, Run, record
from tf_models import PLAIN

from graphrack.errors import GraphrackError
from graphrack.formats.op_table import output_types
from graphrack.formats.protos import graph_pb2
from graphrack.formats.tensor import attr_value, tensor_from_proto
from graphrack.ops import registry

REFUSALS = (ValueError, TypeError, IndexError, ZeroDivisionError, OverflowError, GraphrackError)


class Constant:
    """An array that is no placeholder, for ops that take constants alone, of any type."""

    def __init__(self, value: np.ndarray[Any, Any]):
        self.value = value

    def __repr__(self) -> str:
        return f"Constant({_brief(self.value)})"

    def __call__(self) -> Any:
        # A constant's bytes may be of any type; its Python values may not.
        dtype = tf.as_dtype(self.value.dtype)
        proto = tf.make_tensor_proto(self.value.view(self.value.dtype[0]) if self.value.dtype.names else self.value)
        proto.dtype = dtype.as_datatype_enum
        attrs = {"value": tf.AttrValue(tensor=proto), "dtype": tf.AttrValue(type=proto.dtype)}
        return tf.get_default_graph().create_op("Const", [], [dtype], attrs=attrs).outputs[0]


class Refused:
    """What stands for an error in place of results."""

    def __init__(self, error: Exception):
        self.error = error

    def __repr__(self) -> str:
        return f"refused: {type(self.error).__name__}: {str(self.error)[:300]}"


class _Note:
    """What is shown of a case that goes wrong: the op's name, inputs and attributes."""

    def __init__(self, op_name: str, arguments: dict[str, Any], where: str = ""):
        self.op_name = op_name
        self.arguments = arguments
        self.where = where

    def __str__(self) -> str:
        return f"{self.op_name}({', '.join(f'{k}={_brief(v)}' for k, v in self.arguments.items())}){self.where}"


def build(op_name: str, arguments: dict[str, Any], *, shapes: bool = False) -> tuple[Any, Any, dict[str, Any]]:
    """The op in the current TensorFlow graph: its Operation, its outputs, the feeds."""
    feeds: dict[str, Any] = {}

    def tensor(key: str, value: Any) -> Any:
        if isinstance(value, (np.ndarray, np.generic)):
            value = np.asarray(value)
            dtype = tf.string if value.dtype.kind in "OSU" else tf.as_dtype(value.dtype)
            shape = tf.TensorShape(value.shape if shapes else None).as_proto()
            attrs = {"dtype": tf.AttrValue(type=dtype.as_datatype_enum), "shape": tf.AttrValue(shape=shape)}
            graph = tf.get_default_graph()  # whose own way takes half as long as tf.placeholder
            placeholder = graph.create_op("Placeholder", [], [dtype], name=f"in_{key}", attrs=attrs).outputs[0]
            feeds[placeholder.name] = value
            return placeholder
        return value() if isinstance(value, Constant) else value

    built = {}
    for key, value in arguments.items():
        if isinstance(value, (list, tuple)) and any(isinstance(v, (np.ndarray, np.generic)) for v in value):
            built[key] = [tensor(f"{key}_{i}", v) for i, v in enumerate(value)]
        else:
            built[key] = tensor(key, value)
    if hasattr(tf.raw_ops, op_name):
        getattr(tf.raw_ops, op_name)(**built, name="op")
    else:  # old or internal ops that have no Python function
        from tensorflow.python.framework import op_def_library

        op_def_library.apply_op(op_name, name="op", **built)
    operation = tf.get_default_graph().get_operation_by_name("op")
    return operation, list(operation.outputs), feeds


def by_tensorflow(
    op_name: str, arguments: dict[str, Any], shapes: bool = False, optimized: bool = False
) -> tuple[bytes | None, dict[str, Any], Any]:
    """The serialised graph (None where it can't be built), the feeds, and results or `Refused`."""
    with tf.Graph().as_default() as graph:
        try:
            operation, outputs, feeds = build(op_name, arguments, shapes=shapes)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            return None, {}, Refused(error)
        data = graph.as_graph_def().SerializeToString()
        with tf.Session(graph=graph, config=None if optimized else PLAIN) as session:
            try:
                return data, feeds, session.run(outputs if outputs else operation, feeds)
            except (tf.errors.OpError, ValueError, TypeError) as error:
                return data, feeds, Refused(error)


def by_graphrack(data: bytes, feeds: dict[str, Any], kind: str = "") -> Any:
    """As `run_kernels`, for a test that compares in a way of its own."""
    found = run_kernels(data, feeds)
    record(data, [_run(feeds, found, None)], kind=kind)
    judged.case()
    judged.refusal(str(found.error)) if isinstance(found, Refused) else judged.value()
    return found


def run_kernels(data: bytes, feeds: dict[str, Any]) -> Any:
    """The outputs of the node named `op`, or `Refused`; kernels run as they are, without a plan."""
    graph = graph_pb2.GraphDef.FromString(data)
    nodes = {node.name: node for node in graph.node}
    values: dict[str, Any] = {}
    for name, value in feeds.items():
        array = np.asarray(value)
        values[name] = array.astype(object) if array.dtype.kind in "SU" else array

    def value_of(reference: str) -> Any:
        if ":" not in reference:
            reference += ":0"
        if reference not in values:
            node = nodes[reference.partition(":")[0]]
            if node.op == "Const":
                values[reference] = tensor_from_proto(node.attr["value"].tensor)
            else:
                run(node)
        return values[reference]

    def run(node: graph_pb2.NodeDef) -> Any:
        implementation = registry.lookup(node.op)
        assert implementation is not None, f"op {node.op!r} is not registered"
        inputs = [value_of(name) for name in node.input if not name.startswith("^")]
        attributes = {key: attr_value(value) for key, value in node.attr.items()}
        facts = {"input_count": len(inputs), "output_count": output_count}
        kernel = implementation.bind(node.name, attributes, facts)
        results = kernel(*inputs)
        if implementation.outputs == 1:
            results = [results]
        elif implementation.outputs == 0:
            results = []
        else:
            assert isinstance(results, (tuple, list)), f"{node.op} must return a tuple"
        for i, result in enumerate(results):
            values[f"{node.name}:{i}"] = result
        return list(results)

    output_count = len(output_types(nodes["op"]) or ())
    with np.errstate(all="ignore"):
        try:
            return run(nodes["op"])
        except REFUSALS as error:
            return Refused(error)


def check(
    op_name: str,
    *,
    rtol: float | None = None,
    atol: float | None = None,
    refused: bool | None = None,
    static_shapes: bool = False,
    optimized: bool = False,
    outputs: list[int] | None = None,
    **arguments: Any,
) -> Any:
    """Runs the op both ways and compares; gives TensorFlow's outputs (a list) or `Refused`.

    Attributes:
        rtol, atol: bounds for floating-point outputs; by default a few units in the last place.
        refused: True asserts that both refuse, False that neither does, None that they agree.
        static_shapes: placeholders get their feeds' shapes (some ops can't be built without).
        optimized: TensorFlow's graph optimiser may leave the op out where it thinks that it does nothing.
        outputs: compare only these outputs (where others are unspecified).
    """
    note = _Note(op_name, arguments)
    judged.case()
    data, feeds, expected = by_tensorflow(op_name, arguments, static_shapes, optimized)
    if data is None:
        misspelled = "unexpected keyword argument" in str(expected.error)
        assert not misspelled, f"{note}: TensorFlow's function has other argument names: {expected}"
        assert refused is not False, f"{note}: TensorFlow can't build it: {expected}"
        return expected  # a graph that can't be built reaches nobody
    record(data, [_run(feeds, expected, outputs)], rtol, atol, op_name)
    found = run_kernels(data, feeds)
    if isinstance(expected, Refused):
        assert refused is not False, f"{note}: TensorFlow {expected}"
        assert isinstance(found, Refused), f"{note}: TensorFlow {expected}; graphrack gave {found}"
        judged.refusal(str(expected.error))
        return expected
    assert refused is not True, f"{note}: TensorFlow gave {expected}"
    assert not isinstance(found, Refused), f"{note}: graphrack {found}; TensorFlow gave {_brief(expected)}"
    judged.value()
    if expected is None:
        return []
    assert len(found) == len(expected), f"{note}: {len(found)} outputs, TensorFlow's {len(expected)}"
    for i, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        if outputs is None or i in outputs:
            compare(ours, theirs, rtol, atol, _Note(op_name, arguments, f" output {i}"))
    return expected


def _run(feeds: dict[str, Any], expected: Any, outputs: list[int] | None) -> Run:
    if isinstance(expected, list):
        values = [v if outputs is None or i in outputs else None for i, v in enumerate(expected)]
        return Run([f"op:{i}" for i in range(len(expected))], feeds, values)
    return Run(["op"], feeds, Refusal(str(expected.error)) if isinstance(expected, Refused) else [None])


def _brief(value: Any) -> str:
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        shown = np.array2string(array, threshold=8, edgeitems=2, precision=4).replace("\n", "")
        return f"{array.dtype}{list(array.shape)} {shown}"
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], np.ndarray):
        return "[" + ", ".join(_brief(v) for v in value[:4]) + (", …" if len(value) > 4 else "") + "]"
    return repr(value)
