"""What of TensorFlow's ops graphrack doesn't run, and why; `make_op_page.py` lists it.

A family is a heading, the reason, and the names: a regular expression that must match the whole name. An op belongs
to the first family that matches it; `tests/ops/test_left_out.py` holds that every op has one, and no family is idle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from graphrack.engines.interpreter.functions import FUNCTION_OPS, PLANNED
from graphrack.engines.interpreter.outside import NEVER, is_pipeline
from graphrack.formats import op_table
from graphrack.ops import registry


class Family(NamedTuple):
    """Ops that are left out for one reason."""

    heading: str
    reason: str
    pattern: str


PIPELINES = Family(
    "Input pipelines",
    "Datasets, iterators, queues, readers and staging areas: a plan that takes their values is refused with the names "
    "of the tensors to feed instead.",
    "",  # those that `outside.is_pipeline` knows, and what belongs to them alone:
)
REFUSED = Family("Refused", "They leave the process: what each would do is in the error.", "")
FAMILIES: tuple[Family, ...] = (
    Family(
        "Input pipelines' helpers",
        "They make or hold what datasets need: seeds, caches, thread pools, statistics, compressed elements.",
        r"(Anonymous|Delete|Dummy)(MemoryCache|(Random)?SeedGenerator|IterationCounter)|(Un)?[cC]ompressElement"
        r"|(Experimental)?(StatsAggregator.*|ThreadPoolHandle)|ComputeBatchSize|GetElementAtIndex|GetOptions"
        r"|InitializeTableFromDataset|MapDefun|AudioMicrofrontend",
    ),
    Family(
        "TPUs and other accelerators",
        "They exist on TPUs alone, or move values to and from them.",
        r"_?.*TPU.*|.*Tpu.*|Infeed.*|Outfeed.*|Prelinearize.*|.*SparseCore.*|.*Minibatch.*|.*DedupData.*|.*CooTensor.*"
        r"|WorkerHeartbeat|UpdateTaskIdAndGlobalCoreArray|GlobalIterId|KthOrderStatistic|MakeUnique|TopKUnique"
        r"|TopKWithUnique|CrossReplicaSum|AllToAll|CollectivePermute",
    ),
    Family(
        "XLA",
        "They hold programs of another compiler, or stand in graphs that it has rewritten.",
        r"_?Xla.*|AssignVariableXlaConcatND|ReadVariableXlaSplitND|Risc.*|MlirPassthroughOp",
    ),
    Family(
        "Several processes and devices",
        "They exchange values between processes or devices, or place them.",
        r"Collective.*|_?Nccl.*|DTensor.*|Relayout(Like)?|CopyToMesh(Grad)?|Send|Recv|RemoteCall|DistributedSave"
        r"|SyncDevice|_ScopedAllocator.*|DevicePlacementOp|CheckPinned|_HostCast",
    ),
    Family(
        "Made while TensorFlow runs",
        "The runtime puts them in place of others, in no graph that is saved: oneDNN's forms of ops, fused ones, "
        "arguments and results of functions.",
        r"__?Mkl.*|_Fused.*|_Quantized.*|_(Arg|Retval|DeviceArg|DeviceRetval|ArrayToList|ListToArray|EagerConst|If|While)"
        r"|_ParallelConcat.*|_ReadVariablesOp|_VarHandlesOp|_TensorToHashBucketFast|_UnaryOpsComposition",
    ),
    Family(
        "No kernel for processors",
        "TensorFlow itself runs them on other devices alone, or not at all.",
        r"CudnnRNNBackprop.*|Conv2DBackprop(Filter|Input)V2|(I|R|IR)?FFTND|GenerateBoundingBoxProposals"
        r"|MaxPoolGradGradWithArgmax|QuantizedReluX|Segment(Sum|Prod|Min|Max)V2"
        r"|SparseMatrix(Add|Mul|Softmax|SoftmaxGrad|Zeros)",
    ),
    Family(
        "Trainers that are one op",
        "Boosted trees, linear models by dual coordinate ascent, word2vec of the first releases: what made such "
        "graphs, TensorFlow's estimators and examples, is gone.",
        r"(Is)?BoostedTrees.*|Sdca.*|NegTrain|Skipgram",
    ),
    Family(
        "Serving and profiling",
        "They batch the calls of a server, ask for its deadline, or write what a debugger or a calibrator collects.",
        r"Batch(Function)?|Unbatch(Grad)?|GetDeadline|Debug.*|DumpTensor|CalibrationStatisticsSaver|CustomAggregator",
    ),
    Family(
        "Kept in a session",
        "Tensors that a session keeps between its runs under handles; `Model.run` gives and takes arrays.",
        r"(Get|Delete)Session.*",
    ),
    Family(
        "Sparse matrices in rows",
        "CSR matrices, which no public function makes; sparse tensors and their products are there.",
        r".*CSRSparseMatrix.*|SparseMatrix.*",
    ),
    Family(
        "Experiments",
        "Uniformly quantized tensors of StableHLO's kind, composite tensors in variants, stochastic rounding.",
        r"Uniform(Quant|Dequant|Requant).*|CompositeTensorVariant.*|StochasticCastToInt",
    ),
    Family(
        "Broken",
        "Convolutions of quantized integers with another tensor added: TensorFlow's own kernels crash.",
        r"QuantizedConv2DWithBias(Signed)?Sum.*",
    ),
    Family("JPEG XL", "Needs a decoder that Pillow lacks.", r"DecodeJxl"),
    Family(
        "References and functions of the first releases",
        "A choice among references, a gradient as one op, a constant in a mapped file, what a process is set to: no "
        "graph that has been found holds them.",
        r"RefSelect|SymbolicGradient|ImmutableConst|HostConst|IsResourceHandleRefCounting|MakeWeakResourceHandle"
        r"|StubResourceHandleOp|IsTensorFloat32Enabled|ToBool",
    ),
    Family(
        "TensorFlow's own tests",
        "They test its registry.",
        r"[AB]|Attr.*|.*Attr|Binary|Unary|Simple(Struct)?|ComplexStruct|MixedStruct|ConstructionFails|CopyOp|Old|None|Fact"
        r"|Foo\d|DtypeWithDefaultOp|FiveFloatOutputs|(Two)?(Float|Int|Int64)(s)?(Input|Output).*|DefaultAttrs|FuncListAttr"
        r"|GraphDefVersion|InPolymorphicTwice|KernelLabel(Required)?|List(Input|Output)|N(In|Ints|Polymorphic).*"
        r"|(Namespace>)?TestStringOutput|TestAttr|OpWith.*|Out(T|TypeList.*)|Polymorphic.*|Ref(In|Out|Input|Output).*"
        r"|RequiresOlderGraphVersion|Reserved.*|Resource(CreateOp|InitializedOp|UsingOp)|Restrict|StringListAttr"
        r"|TwoRefsIn|TypeList.*|WindowOp",
    ),
)


def handled(name: str) -> bool:
    """Whether a kernel, or the planner, runs the op."""
    return name in registry.load_all() or name in FUNCTION_OPS or name in PLANNED


def family(name: str) -> Family | None:
    """Why an op is left out; None for one that is handled, and where nobody has said."""
    if handled(name):
        return None
    if name in NEVER:
        return REFUSED
    if is_pipeline(name):
        return PIPELINES
    return next((each for each in FAMILIES if re.fullmatch(each.pattern, name)), None)


def left_out(names: Iterable[str]) -> dict[Family, list[str]]:
    """The ops that are left out, by their families, in the order of the page."""
    found: dict[Family, list[str]] = {each: [] for each in (PIPELINES, REFUSED, *FAMILIES)}
    for name in sorted(names):
        reason = family(name)
        if reason is not None:
            found[reason].append(name)
    return found


def page_lines() -> list[str]:
    """The end of the page of ops."""
    lines = ["## What is left out", ""]
    lines += ["Every op that TensorFlow 2.21 registers is above or here.", ""]
    for each, names in left_out(op_table.op_names()).items():
        lines += [f"**{each.heading}** ({len(names)}). {each.reason}", "", ", ".join(names) + ".", ""]
    return lines
