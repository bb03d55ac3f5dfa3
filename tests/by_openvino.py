"""What the tests run, run by OpenVINO, too: its results against the interpreter's.

With `GRAPHRACK_BY_OPENVINO=folder`, models are loaded with `engine="openvino"` where a test names no engine, and
every case that the tests have TensorFlow judge is run by either engine besides, on a model of its own each:

  - as it is;
  - fitted for OpenVINO: what must be a constant to be in a cluster is one, instead of being fed; NaN and infinities
    among the feeds, which would leave the run to the interpreter, are numbers; outputs that keep a node out of clusters
    aren't fetched; and every node that OpenVINO may be given is given to it, even one that moves values about alone:
    compiled for any sizes, and once more for those of the case, as a whole or for one sample of a batch.

Both must give the same: dtypes, shapes, NaN, infinities, errors with their reasons, and numbers within `RTOL`, each in
proportion to itself (of 16 bits: within one in the last place, as what is rounded to these may fall to either side).
Where sums may cancel out, because a node adds up or several nodes compute, they are within `CANCELLED` of the greatest
number among feeds and results: that much rounding leaves of a sum, and another order of adding another rest. Elu and
Selu may lose what is small against 1, as exp(x) - 1 does; resized pictures are within `RTOL` of the greatest number, as
either engine finds its place between two pixels from coordinates of 24 bits.

What ran in OpenVINO is counted, for each op and dtype, in a file of the folder; `tests/ran_by_openvino` looks at these.
Nothing here imports TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import graphrack as gr
from graphrack.engines.openvino import background, ops, step
from graphrack.engines.openvino.compiled import ClusterProgram, Part
from graphrack.engines.openvino.planning import Clusters
from graphrack.formats.dtypes import DType
from graphrack.formats.protos import graph_pb2
from graphrack.formats.tensor import tensor_to_proto

FOLDER = os.path.abspath(os.environ["GRAPHRACK_BY_OPENVINO"]) if "GRAPHRACK_BY_OPENVINO" in os.environ else ""
RTOL = 1e-4
CANCELLED = 1e-5

# Ops whose results are sums.
_SUMS = frozenset(("AddN", "AvgPool", "Conv2D", "Conv2DBackpropInput", "Conv3D", "DepthwiseConv2dNative", "Einsum",
                   "FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "MatMul", "BatchMatMul", "BatchMatMulV2",
                   "BatchMatMulV3", "Mean", "Sum"))  # fmt: skip
# OpenVINO takes filters of known shapes alone.
_FILTERS = ("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv3D")
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")


class Tally:
    """What has run in this process.

    Attributes:
        counts: `cases` (graphs and models), of which `with_clusters` had nodes that OpenVINO ran; `runs` of clusters
            and `nodes` in them; `left`, runs of clusters that OpenVINO refused.
        ops: how often a node ran in OpenVINO, by op and dtypes.
        refused: what OpenVINO said against clusters.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.ops: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def ran(self, parts: Sequence[Part]) -> None:
        self.counts["runs"] += 1
        self.counts["nodes"] += len(parts)
        self.ops.update(f"{part.op} {dtypes(part)}" for part in parts)

    def save(self) -> None:
        """Writes it to the folder, in a file for this process."""
        folder = Path(FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        data = {"counts": self.counts, "ops": self.ops, "refused": self.refused}
        (folder / f"{os.getpid()}.json").write_text(json.dumps(data))

    @staticmethod
    def read(folder: Path) -> Tally:
        """What all processes have written."""
        found = Tally()
        for path in folder.glob("*.json"):
            for name, counts in json.loads(path.read_text()).items():
                getattr(found, name).update(counts)
        return found


tally = Tally()


def dtypes(part: Part) -> str:
    """The dtypes of the values that a node computes with."""
    if part.op.startswith("Logical"):
        return "bool"
    names = ("Tidx",) if part.op == "Range" else ops._TYPE_ATTRIBUTES
    found = (part.attributes[name] for name in names if name in part.attributes)
    return " ".join(dict.fromkeys(dtype.name for dtype in found if isinstance(dtype, DType)))


def install() -> None:
    """Makes OpenVINO the engine of models that are loaded without one, and counts what it runs."""
    assert gr.load.__kwdefaults__["engine"] == "auto"
    gr.load.__kwdefaults__["engine"] = "openvino"
    run = ClusterProgram.run

    def counted(self: ClusterProgram, inputs: Sequence[Any], weights: Sequence[Any], seconds: float = 0.0) -> Any:
        try:
            results = run(self, inputs, weights, seconds)
        except Exception as error:
            tally.counts["left"] += 1
            tally.refused[f"{[p.op for p in self.parts]}: {error}"[:500]] += 1
            raise
        if results is not None:
            tally.ran(self.parts)
        elif self.failure:
            tally.counts["left"] += 1
            tally.refused[f"{[p.op for p in self.parts]}: {self.failure}"[:500]] += 1
        return results

    ClusterProgram.run = counted  # type: ignore[method-assign]


class Failed(NamedTuple):
    """What stands for an error in place of results: its class and the reason.

    Of several nodes that fail, and that wait for nothing of each other, either may come first.
    """

    kind: str
    reason: str

    @staticmethod
    def of(error: gr.GraphrackError) -> Failed:
        assert "(cluster)" not in str(error), f"nodes fail, and no cluster does: {error}"
        return Failed(type(error).__name__, re.sub(r"node '[^']*' |; its inputs: .*", "", str(error)))


def agree(data: bytes, runs: Sequence[Any]) -> None:
    """Asserts that OpenVINO gives what the interpreter gives, of a graph and what is run of it (`recording.Run`)."""
    graph = graph_pb2.GraphDef.FromString(data)
    if not given(graph):
        return
    slack = slack_of(graph)
    before = tally.counts["nodes"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.pb"
        path.write_bytes(data)
        _agree(path, runs, slack, "")
        with everything():
            graph, runs = fitted(graph, runs)
            path.write_bytes(graph.SerializeToString())
            _agree(path, runs, slack, "fitted for OpenVINO, ")
    tally.counts["cases"] += 1
    tally.counts["with_clusters"] += tally.counts["nodes"] > before


def agree_opened(path: Path, runs: Sequence[Any] = (), calls: Sequence[Any] = (), restore: str = "") -> None:
    """As `agree`, of a model on disk: runs and calls (`recording.Call`) in this order, on one state."""
    before = tally.counts["nodes"]

    def outcomes(engine: str) -> list[Any]:
        model = gr.load(path, engine=engine)
        if restore:
            model.restore((path if path.is_dir() else path.parent) / restore)
        found = _outcomes(model, runs)
        for call in calls:
            values = model(call.inputs, signature=call.signature)
            found.append(list(values.values()) if isinstance(values, dict) else [values])
        return [*found, [np.asarray(model.variables[name]) for name in model.variables]] if runs else found

    slow, fast = outcomes("numpy"), outcomes("openvino")
    fed = [value for one in runs for value in one.feeds.values()]
    fed += [value for call in calls for value in call.inputs.values()]
    greatest = _greatest([*fed, *(value for one in slow if isinstance(one, list) for value in one)])
    # Each step of a training adds to what the steps before have rounded.
    steps = [number for number, one in enumerate(runs) if all(v is None for v in one.values)]
    for number, (one, other) in enumerate(zip(slow, fast, strict=True)):
        share = RTOL if steps and number > steps[0] else CANCELLED
        _same(other, one, share * greatest, f"run {number}")
    tally.counts["cases"] += 1
    tally.counts["with_clusters"] += tally.counts["nodes"] > before


def given(graph: graph_pb2.GraphDef) -> bool:
    """Whether OpenVINO is given any op of a graph or its functions: else both engines have the same plans."""
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return any(node.op in ops.RULES and node.op != "Identity" for node in nodes)


def slack_of(graph: graph_pb2.GraphDef) -> tuple[float, float]:
    """How far from each other numbers may be beside `RTOL`: in proportion to the greatest, and in themselves."""
    moving = ops.RULES["Identity"].types
    computing = [node.op for node in graph.node if node.op in ops.RULES and ops.RULES[node.op].types != moving]
    cancels = len(computing) > 1 or not _SUMS.isdisjoint(computing) or bool(graph.library.function)
    share = RTOL if "ResizeBilinear" in computing else CANCELLED if cancels else 0.0
    return share, 0.0 if {"Elu", "Selu"}.isdisjoint(computing) else 2.0**-22


@contextlib.contextmanager
def everything() -> Iterator[None]:
    """What may be in a cluster makes one, and runs sample by sample where it may, however little it is."""
    worth, least = Clusters._is_worth, step._SAMPLE_S
    Clusters._is_worth = lambda self, cluster: True  # type: ignore[method-assign]
    step._SAMPLE_S = 0.0
    try:
        yield
    finally:
        Clusters._is_worth, step._SAMPLE_S = worth, least  # type: ignore[method-assign]


def fitted(graph: graph_pb2.GraphDef, runs: Sequence[Any]) -> tuple[graph_pb2.GraphDef, list[Any]]:
    """The same graph and runs so that OpenVINO gets as much of them as it may."""
    found = graph_pb2.GraphDef()
    found.CopyFrom(graph)
    fed = {key.removesuffix(":0"): value for one in reversed(runs) for key, value in one.feeds.items()}
    fixed: set[str] = set()
    single: set[str] = set()
    for node in found.node:
        if node.op in ops.RULES:
            inputs = [name.removesuffix(":0") for name in node.input if not name.startswith("^")]
            wanted = (1,) if node.op in _FILTERS else ops.RULES[node.op].fixed
            fixed.update(inputs[i] for i in wanted if -len(inputs) <= i < len(inputs))
            if not ops.RULES[node.op].outputs:
                single.add(node.name)
    constant = set()
    for node in found.node:
        if node.op in _PLACEHOLDERS and node.name in fixed and node.name in fed:
            constant.add(node.name)
            node.CopyFrom(_constant(node, fed[node.name]))
    found.node.add(name="fitted_for_openvino", op="NoOp")  # plans are shared by graphs of equal bytes
    changed = []
    for one in runs:
        feeds = {key: _finite(v) for key, v in one.feeds.items() if key.removesuffix(":0") not in constant}
        # Of a node with several outputs OpenVINO gives the first.
        more = [(name, output) for name, _, output in (f.partition(":") for f in one.fetches)]
        kept = [i for i, (name, output) in enumerate(more) if name not in single or output in ("", "0")]
        values = [one.values[i] for i in kept] if isinstance(one.values, list) else one.values
        changed.append(one._replace(fetches=[one.fetches[i] for i in kept], feeds=feeds, values=values))
    return found, changed


def _constant(placeholder: graph_pb2.NodeDef, value: Any) -> graph_pb2.NodeDef:
    node = graph_pb2.NodeDef(name=placeholder.name, op="Const")
    node.attr["dtype"].type = placeholder.attr["dtype"].type
    node.attr["value"].tensor.CopyFrom(tensor_to_proto(np.asarray(value)))
    return node


def _finite(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return value
    return np.nan_to_num(array, nan=0.5, posinf=2.0, neginf=-2.0)


def _agree(path: Path, runs: Sequence[Any], slack: tuple[float, float], note: str) -> None:
    slow, fast = (_outcomes(gr.load(path, engine=engine), runs) for engine in ("numpy", "openvino"))
    _compare(runs, slow, fast, slack, note)
    if note and any(isinstance(one, list) for one in slow):
        # Once more, compiled for these sizes alone: models of one graph share what is compiled.
        first = gr.load(path, engine="openvino")
        with background.waiting(sizes=True) as patience:
            _outcomes(first, runs)
        if patience.made:
            again = _outcomes(gr.load(path, engine="openvino"), runs)
            _compare(runs, slow, again, slack, f"{note}of known sizes, ")


def _compare(
    runs: Sequence[Any], slow: Sequence[Any], fast: Sequence[Any], slack: tuple[float, float], note: str
) -> None:
    numbers = [value for one in runs for value in one.feeds.values()]
    numbers += [value for one in slow if isinstance(one, list) for value in one]
    for number, (one, ours, theirs) in enumerate(zip(runs, fast, slow, strict=True)):
        if isinstance(ours, list) and isinstance(one.values, list) and isinstance(theirs, list):
            # What TensorFlow leaves unspecified, or draws anew each time, isn't compared.
            kept = [i for i, value in enumerate(one.values) if value is not None]
            ours, theirs = [ours[i] for i in kept], [theirs[i] for i in kept]
        _same(ours, theirs, slack[0] * _greatest(numbers) + slack[1], f"{note}run {number} of {list(one.fetches)}")


def _outcomes(model: gr.Model, runs: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for one in runs:
        try:
            found.append(list(model.run(list(one.fetches), one.feeds)))
        except gr.GraphrackError as error:
            found.append(Failed.of(error))
    return found


def _greatest(values: Sequence[Any]) -> float:
    """The size of the greatest finite number among arrays."""
    return max(map(_size, values), default=0.0)


def _size(value: Any) -> float:
    array = np.asarray(value)
    if array.dtype.kind not in "fcV" or not array.size or array.dtype.names:
        return 0.0
    sizes = np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
    return float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))


def _same(found: Any, expected: Any, bound: float, note: str) -> None:
    if isinstance(found, Failed) or isinstance(expected, Failed):
        assert found == expected, f"{note}: by OpenVINO {found}; the interpreter: {expected}"
        return
    for i, (one, other) in enumerate(zip(found, expected, strict=True)):
        _near(one, other, bound, f"{note}, output {i}, by OpenVINO and by the interpreter")


def _near(found: Any, expected: Any, bound: float, note: str) -> None:
    """Asserts that two values are the same, as near as numbers are to be."""
    if expected is None or isinstance(expected, bytes):
        assert found == expected, note
        return
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape), note
    if expected.dtype.kind not in "fcV" or expected.dtype.names:
        np.testing.assert_array_equal(found, expected, err_msg=note)
        return
    rtol = max(RTOL, {"float16": 2**-10, "bfloat16": 2**-7}.get(str(expected.dtype), 0.0))
    if expected.dtype.kind == "V" or expected.dtype.itemsize < 4:
        found, expected = found.astype(np.float32), expected.astype(np.float32)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=bound, equal_nan=True, err_msg=note)
