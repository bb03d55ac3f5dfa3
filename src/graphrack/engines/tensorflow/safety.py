"""What TensorFlow's ops reach outside of the process: refused, unless `load(..., allow={"io"})` permits it.

graphrack's own ops say so where they are registered. Of TensorFlow's others, those are taken that keep no state,
and those known here; an op that TensorFlow calls stateful may do anything (files, other processes, devices), and a
library of ops that the program loaded, too.
"""

from __future__ import annotations

from graphrack.engines.interpreter.functions import FILLED_BY_FILE, has_op
from graphrack.engines.tensorflow.library import definition
from graphrack.formats.protos.graph_pb2 import NodeDef
from graphrack.ops.registry import lookup

# Stateless by their definitions, and yet.
_REACHING = {
    "ImmutableConst": "map a file",
    **dict.fromkeys(
        ("DebugIdentity", "DebugIdentityV2", "DebugIdentityV3", "DebugNanCount", "DebugNumericSummary",
         "DebugNumericSummaryV2", "Copy", "CopyHost"),
        "send values to a debugger",
    ),
}  # fmt: skip

# Stateful, of the kind that stays within the model's session.
_WITHIN = frozenset((
    "AddManySparseToTensorsMap", "AddSparseToTensorsMap", "AnonymousRandomSeedGenerator", "AnonymousSeedGenerator",
    "CudnnRNNBackprop", "CudnnRNNBackpropV2", "CudnnRNNBackpropV3", "DeleteRandomSeedGenerator",
    "DeleteSeedGenerator", "DestroyTemporaryVariable", "DeviceIndex", "DummySeedGenerator", "GraphDefVersion",
    "IsResourceHandleRefCounting", "NonDeterministicInts", "StatefulRandomBinomial", "StatefulStandardNormal",
    "TakeManySparseFromTensorsMap", "TemporaryVariable",
))  # fmt: skip
_FAMILIES_WITHIN = ("BoostedTrees", "IsBoostedTrees")

_PRINTS_TO_FILES = b"file://"


def kinds_of_access(node: NodeDef, *, in_function: bool) -> str:
    """What a node would do outside of the process, in words; "" for nothing, or nothing that isn't looked at later.

    Attributes:
        in_function: whether it is a node of a function: there nobody can look at its inputs.
    """
    if node.op in _REACHING:
        return _REACHING[node.op]
    if node.op in FILLED_BY_FILE and in_function:
        return "read a file"
    if node.op == "PrintV2" and node.attr["output_stream"].s.startswith(_PRINTS_TO_FILES):
        return "write a file"
    if has_op(node.op):
        op = lookup(node.op)
        return op.io if op is not None else ""
    known = definition(node.op)
    if known is None or not known.is_stateful:
        return ""
    if node.op in _WITHIN or node.op.startswith(_FAMILIES_WITHIN):
        return ""
    return "do what only TensorFlow knows (it keeps state, or reaches beyond the process)"
