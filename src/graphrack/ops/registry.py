"""Which function computes which op.

One op, one function, spelled like the op: inputs are positional, attributes are keyword-only and
spelled and defaulted as in TensorFlow's op definition. Two ways to register, side by side in one file:

    @op("Concat", ...)                 a function of inputs and attributes
    def Concat(concat_dim, *values): ...

    @specialized("MatMul", ...)        a function of attributes alone, called once per plan: gives the
    def MatMul(*, transpose_a=False):  function of inputs that runs, chosen for these attributes
        return ...

An attribute that the function doesn't declare is not passed (type attributes mostly: arrays carry
their dtypes). Attributes arrive decoded: strings as `bytes`, types as `DType`, shapes as tuples with
`None` for unknown sizes (`None` for unknown rank), tensors as arrays, lists as lists.
Four keyword names are not attributes but facts about the node: `node_name` (its name), `input_count`
(how many data inputs it has), `output_count`, where the op's outputs depend on its attributes, and
`used_outputs`: the numbers of those that anything takes, all of them where that isn't known.

What flows between ops: NumPy arrays or NumPy scalars (an array of rank 0 may be either); strings are
always object arrays of `bytes`, of rank 0 too; resources are `Handle`s. Kernels never write into
their inputs, and may return them or views of them; but for one whose memory they are told to use (`overwrites`).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from graphrack.errors import GraphError

Kernel = Callable[..., Any]
_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")

MANY = -1
"""For `outputs=`: as many as attributes say; the kernel returns a list or tuple."""

FACTS = ("node_name", "input_count", "output_count", "used_outputs")


_PLAIN_KINDS = {bool: "bool", int: "int", float: "float", bytes: "string"}


class Prepared:
    """A kernel that first makes something handier of inputs which are mostly known beforehand: axes, shapes, slices.

    Called as it is, it takes the op's inputs. A planner that knows those inputs has them prepared once.

    Attributes:
        kernel: takes the other inputs, then what `prepare` gives.
        part: which inputs are prepared: from some position to the end, or from the first to some position.
        prepare: takes these inputs; it looks at nothing else.
    """

    __slots__ = ("kernel", "part", "prepare")

    def __init__(self, kernel: Kernel, part: slice, prepare: Kernel):
        self.kernel = kernel
        self.part = part
        self.prepare = prepare

    def __call__(self, *inputs: Any) -> Any:
        """What the op gives."""
        return self.kernel(*self.others(inputs), self.prepare(*inputs[self.part]))

    def others(self, inputs: Sequence[_T]) -> Sequence[_T]:
        """The inputs that are not prepared."""
        return inputs[self.part.stop :] if self.part.start is None else inputs[: self.part.start]


class Op:
    """How one op is computed, and what a planner has to know about it."""

    __slots__ = ("binds", "defaults", "function", "impure", "io", "keywords", "module", "name", "outputs",
                 "overwrites", "ref_inputs", "ref_output", "state", "writes")  # fmt: skip

    def __init__(
        self,
        name: str,
        function: Kernel,
        *,
        binds: bool,
        outputs: int,
        state: bool,
        writes: bool,
        ref_inputs: tuple[int, ...],
        ref_output: bool,
        io: str,
        impure: bool,
        overwrites: tuple[int, ...],
        module: str,
    ):
        self.name = name
        self.function = function
        self.binds = binds
        self.outputs = outputs
        self.state = state
        self.writes = writes
        self.ref_inputs = ref_inputs
        self.ref_output = ref_output
        self.io = io
        self.impure = impure
        self.overwrites = overwrites
        self.module = module
        code = getattr(function, "__code__", None)
        if code is None:  # a NumPy ufunc: no attributes
            self.keywords: tuple[str, ...] = ()
            self.defaults: Mapping[str, Any] = {}
        else:
            first = code.co_argcount
            self.keywords = code.co_varnames[first : first + code.co_kwonlyargcount]
            self.defaults = function.__kwdefaults__ or {}

    def bind(self, node_name: str, attributes: Mapping[str, Any], facts: Mapping[str, Any]) -> Kernel:
        """The function of inputs alone that computes one node.

        Attributes:
            node_name: for messages, and for ops that keep something per node.
            attributes: decoded attribute values, at least those in `keywords` that the node has.
            facts: values for the names in `FACTS`.

        Raises:
            GraphError: the node lacks an attribute that has no default, or has one of another kind.
        """
        if not self.keywords:
            return self.function() if self.binds else self.function
        arguments: dict[str, Any] = {}
        for keyword in self.keywords:
            if keyword == "node_name":
                arguments[keyword] = node_name
            elif keyword in FACTS:
                if keyword in facts:
                    arguments[keyword] = facts[keyword]
            elif keyword in attributes:
                arguments[keyword] = value = attributes[keyword]
                kind = type(self.defaults.get(keyword))
                if kind in _PLAIN_KINDS and type(value) is not kind:
                    raise GraphError(
                        f"node {node_name!r} ({self.name}) has the attribute {keyword}={value!r:.60}; a value of kind "
                        f"{_PLAIN_KINDS[kind]} was expected; the graph is damaged"
                    )
            elif keyword not in self.defaults:
                raise GraphError(
                    f"node {node_name!r} ({self.name}) lacks its attribute {keyword!r}: found "
                    f"{sorted(attributes)}; the graph is incomplete, write it anew with TensorFlow"
                )
        if self.binds:
            return self.function(**arguments)  # type: ignore[no-any-return]
        return partial(self.function, **arguments)


REGISTRY: dict[str, Op] = {}


def _register(names: Iterable[str], function: Kernel, **traits: Any) -> None:
    # The module that says so, two calls up: a NumPy function doesn't know where it is registered.
    module = sys._getframe(2).f_globals["__name__"]
    for name in names:
        if name in REGISTRY:
            raise ValueError(f"op {name!r} is registered twice: {REGISTRY[name].function} and {function}")
        REGISTRY[name] = Op(name, function, module=module, **traits)


def op(
    *names: str,
    outputs: int = 1,
    state: bool = False,
    writes: bool = False,
    ref_inputs: tuple[int, ...] = (),
    ref_output: bool = False,
    io: str = "",
    impure: bool = False,
    overwrites: tuple[int, ...] = (),
) -> Callable[[_F], _F]:
    """Registers a function of inputs and attributes under one or more op names.

    Attributes:
        names: ops that this function computes.
        outputs: how many outputs the op has: for 1 the function returns the value itself, for 0
            nothing, else a tuple; `MANY` where it depends on attributes (a list or tuple, of one too).
        state: the function's first argument is the run's `RunState`.
        writes: running it changes variables, tables or other resources of the model: plans with such
            nodes are serialised, and their effects appear all at once or not at all.
        ref_inputs: which inputs are references (TF1 variables): they arrive as `Handle`s.
        ref_output: its first output is a reference: the function returns the `Handle`.
        io: what it does outside the process, for ops that don't run unless the caller allows it.
        impure: running it again may give or do something else, though it looks at no state (it makes a
            TensorArray, prints, …): such a node is never computed ahead.
        overwrites: inputs that have the dtype and shape of an output, where they are float32 or float64, and into
            whose memory it may be put: the function takes that array as `out`, too.
    """

    def decorate(function: _F) -> _F:
        _register(names, function, binds=False, outputs=outputs, state=state, writes=writes,
                  ref_inputs=ref_inputs, ref_output=ref_output, io=io, impure=impure,
                  overwrites=overwrites)  # fmt: skip
        return function

    return decorate


def specialized(
    *names: str,
    outputs: int = 1,
    state: bool = False,
    writes: bool = False,
    ref_inputs: tuple[int, ...] = (),
    ref_output: bool = False,
    io: str = "",
    impure: bool = False,
    overwrites: tuple[int, ...] = (),
) -> Callable[[_F], _F]:
    """Registers a function of attributes that gives the kernel; arguments as for `op`."""

    def decorate(function: _F) -> _F:
        _register(names, function, binds=True, outputs=outputs, state=state, writes=writes,
                  ref_inputs=ref_inputs, ref_output=ref_output, io=io, impure=impure,
                  overwrites=overwrites)  # fmt: skip
        return function

    return decorate


def register(name: str, function: Kernel, *, outputs: int = 1) -> None:
    """Registers a ready function (a NumPy ufunc, say) that computes an op as it is."""
    _register((name,), function, binds=False, outputs=outputs, state=False, writes=False,
              ref_inputs=(), ref_output=False, io="", impure=False, overwrites=())  # fmt: skip


_modules: dict[str, str] = {}


def lookup(name: str) -> Op | None:
    """The op of that name, or None where graphrack lacks it; its module is imported on first use."""
    found = REGISTRY.get(name)
    if found is None:
        if not _modules:
            from graphrack.ops.index import MODULES

            _modules.update((op, module) for module, ops in MODULES.items() for op in ops.split())
        if (module := _modules.get(name)) is not None:
            importlib.import_module(f"graphrack.ops.{module}")
            found = REGISTRY[name]
    return found


def load_all() -> Mapping[str, Op]:
    """Every op there is, by name."""
    from graphrack.ops.index import MODULES

    for module in MODULES:
        importlib.import_module(f"graphrack.ops.{module}")
    return REGISTRY
