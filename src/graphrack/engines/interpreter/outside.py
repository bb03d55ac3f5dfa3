"""What a graph would do or take outside of the model: refused before anything of a plan runs.

Ops that read or write files say so where they are registered (`registry.op(io="read a file")`); a plan with such
nodes runs where `load(..., allow={"io"})` permitted it. What graphrack never does is listed here, and so are the
ops of input pipelines: what these produce is to be fed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from graphrack.errors import FeedError, PermissionDenied
from graphrack.formats import op_table
from graphrack.formats.dtypes import RESOURCE, VARIANT
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.graph.index import GraphIndex
from graphrack.graph.names import TensorName

Tensor = tuple[str, int]

_PYTHON = "run Python code of the program that made the graph"
_EVENTS = "write a file of events"
_NETWORK = "exchange values with other processes"

NEVER: Mapping[str, str] = {
    "PyFunc": _PYTHON,
    "PyFuncStateless": _PYTHON,
    "EagerPyFunc": _PYTHON,
    "Abort": "end the process",
    "SleepOp": "sleep",
    "SleepIdentityOp": "sleep",
    "GenerateVocabRemapping": "read files of vocabularies",
    "LoadAndRemapMatrix": "read a checkpoint",
    "FileSystemSetConfiguration": "configure a file system",
    "DatasetToTFRecord": "write a file of records",
    "ExperimentalDatasetToTFRecord": "write a file of records",
    **dict.fromkeys(
        ("CreateSummaryFileWriter", "CreateSummaryDbWriter", "SummaryWriter", "FlushSummaryWriter",
         "CloseSummaryWriter", "WriteSummary", "WriteScalarSummary", "WriteHistogramSummary", "WriteImageSummary",
         "WriteAudioSummary", "WriteGraphSummary", "WriteRawProtoSummary", "ImportEvent"),
        _EVENTS,
    ),
    **dict.fromkeys(
        ("_Send", "_Recv", "_HostSend", "_HostRecv", "RpcClient", "RpcCall", "RpcCheckStatus", "RpcGetValue",
         "RpcServer", "RpcServerRegister", "RpcServerStart", "DeleteRpcFutureResource"),
        _NETWORK,
    ),
}  # fmt: skip
"""Ops that graphrack has no kernel for, on purpose, and what they would do."""

_PIPELINE = re.compile(
    r".*Dataset.*|.*Iterator.*|.*Queue(V2)?|Queue.*|.*Reader(V2)?|Reader[A-Z].*|RecordInput|Barrier.*"
    r"|(OrderedMap|Map)?(Stage|Unstage|UnstageNoKey|StagePeek|Peek|StageSize|Size|Clear|IncompleteSize)|StageClear"
)
_OF_OPTIONALS = frozenset(("OptionalGetValue", "OptionalHasValue"))
_NOT_PIPELINE = frozenset(("Size", "InitializeTableFromDataset"))


def is_pipeline(op: str) -> bool:
    """Whether an op belongs to input pipelines: queues, readers, staging areas, datasets and iterators."""
    return op not in _NOT_PIPELINE and _PIPELINE.fullmatch(op) is not None


def check_pipelines(
    index: GraphIndex,
    nodes: Sequence[NodeDef],
    inputs: Mapping[str, Sequence[Tensor]],
    fed: Collection[Tensor],
    fetches: Iterable[TensorName | str],
) -> None:
    """Raises `FeedError` where a plan takes values of an input pipeline, naming the tensors to feed instead."""
    pipeline = {node.name: node for node in nodes if is_pipeline(node.op) and node.op not in NEVER}
    if not pipeline:
        return
    for node in nodes:  # an element that an iterator may not have is part of it until its value is taken
        if node.op in _OF_OPTIONALS and any(source in pipeline for source, _ in inputs[node.name]):
            pipeline[node.name] = node
    wanted = [f for f in fetches if not isinstance(f, str) and f.op in pipeline and f not in fed]
    for node in nodes:
        if node.name not in pipeline:
            taken = (TensorName(*source) for source in inputs[node.name] if source[0] in pipeline)
            wanted += [tensor for tensor in taken if tensor not in fed]
    # Handles that lead from one node of a pipeline to another are nothing that could be fed.
    wanted = [t for t in sorted(set(wanted)) if index.spec(t).dtype not in (RESOURCE, VARIANT)]
    if wanted:
        shown = []
        for tensor in wanted:
            spec = index.spec(tensor)
            shape = "" if spec.shape is None else f" {['?' if s is None else s for s in spec.shape]}".replace("'", "")
            shown.append(f"{str(tensor)!r} ({spec.dtype}{shape}, of {pipeline[tensor.op].op})")
        raise FeedError(
            f"input pipelines don't run here; feed what they produce: {', '.join(shown)}; fetching "
            f"{', '.join(map(str, fetches))} needs {'it' if len(shown) == 1 else 'them'}"
        )
    named = ", ".join(f"{name!r} ({node.op})" for name, node in list(pipeline.items())[:5])
    raise FeedError(
        f"input pipelines don't run here, and so {named} can't; feed the tensors that the pipeline produces"
    )


def refuse(never: Mapping[str, Sequence[str]]) -> PermissionDenied:
    """The error for nodes of ops in `NEVER`, given by op."""
    shown = "; ".join(f"{op} ({', '.join(map(repr, names[:3]))}) would {NEVER[op]}" for op, names in never.items())
    computed = [f"'{names[0]}:0'" for op, names in never.items() if _gives_values(op)]
    feeding = f"feed what it computes ({', '.join(computed)}), or " if computed else ""
    return PermissionDenied(
        f"the graph would do what graphrack never does: {shown}; {feeding}fetch tensors that don't need it"
    )


def _gives_values(op: str) -> bool:
    """Whether an op has an output that could be fed: one that is no handle."""
    definition = op_table.op_def(op)
    return definition is not None and any(output.type != RESOURCE.number for output in definition.output_arg)


def permission(nodes: Mapping[str, Sequence[str]], words: Mapping[str, str]) -> str:
    """What to tell the caller whose plan has nodes (by op) that do what `words` say (by op); "" where it has none."""
    if not nodes:
        return ""
    shown = "; ".join(f"{op} ({', '.join(map(repr, names[:3]))}) would {words[op]}" for op, names in nodes.items())
    return (
        f'the graph would reach outside of the model: {shown}; load(..., allow={{"io"}}) permits that, or feed what '
        f"they compute"
    )
