"""One isolated graph with its own variables."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from graphrack import _calls as calls
from graphrack import _display
from graphrack.engines import fetches as fetching
from graphrack.engines.feeds import converter
from graphrack.engines.interpreter.plan import uninitialized
from graphrack.engines.interpreter.state import ModelState
from graphrack.errors import GraphrackError, UnknownName, closest
from graphrack.formats.tensor_spec import TensorSpec
from graphrack.graph import interface
from graphrack.graph.index import GraphIndex, Variable
from graphrack.graph.interface import Operations, Signature
from graphrack.instance import Instance
from graphrack.warming import compiled_parts

if TYPE_CHECKING:
    from graphrack.checkpoint import Checkpoint
    from graphrack.explaining import Explanation
    from graphrack.matching import Select

Array = np.ndarray[Any, Any]


class ModelStats(NamedTuple):
    """What a model has done and holds.

    Attributes:
        runs: calls and runs, failed ones too.
        failures: those that raised.
        seconds: spent in them.
        variable_bytes: of the variables' values, mapped ones included (these count only once touched).
        plan_bytes: of decoded constants, which models of the same graph share.
        compiled_bytes: of weights and constants that OpenVINO keeps a copy of, in an order of its own.
    """

    runs: int
    failures: int
    seconds: float
    variable_bytes: int
    plan_bytes: int
    compiled_bytes: int = 0


class Model:
    """One isolated graph with its own variables; made by `graphrack.load`.

    Models share nothing that a caller could change: variables of the same names in two models are
    different variables. All methods may be called from many threads: runs that change nothing go on
    side by side, each on one state of the variables; runs that change variables take turns.
    """

    def __init__(self, instance: Instance, name: str, opened: Callable[[], Instance]):
        self.name = name
        self._opened = opened
        self._instance = instance
        self._lock = threading.Lock()
        self._runs, self._failures, self._seconds = 0, 0, 0.0

    # Running

    def run(self, fetches: Any, feeds: Mapping[Any, Any] | None = None) -> Any:
        """Computes `fetches` given `feeds`, as TensorFlow's `Session.run`.

        Attributes:
            fetches: a tensor's name (`"op:0"`), an operation's, or any nesting of lists, tuples and dicts
                of names. An operation's bare name means its output where it has one, a tuple of them
                where it has several, None where it has none (a train step).
            feeds: names of tensors to array-likes; `"x"` is `"x:0"`, and any tensor may be fed. Values
                are converted to the tensor's dtype where that loses nothing but precision.

        Returns:
            the values in the same nesting: arrays, NumPy scalars (`bytes` of strings) for rank 0.

        Raises:
            UnknownName: a name that the graph doesn't have; the message has the closest.
            FeedError: a feed's dtype or shape doesn't fit, or a needed placeholder isn't fed.
            UnsupportedOp: the fetches need ops that graphrack lacks.
            UninitializedError: variables without values are read.
            OpError: an op failed; the message names its node and inputs.
        """
        names = tuple(feeds) if feeds else ()
        # Looked up first by what was passed as it is: the same call again costs two dict look-ups.
        instance = self._instance
        key = ("run", instance.engine, fetching.key(fetches), names)
        call = instance.graph.kept.get(key)
        if call is None:
            with self._naming():
                graph, engine = instance.graph, instance.engine
                call = graph.once(key, lambda: calls.compile_run(graph, engine, fetches, names))
        return self._run(instance, call, feeds.values() if feeds else ())

    def __call__(self, *args: Any, signature: str | None = None, **feeds: Any) -> Any:
        """The model's prediction: `m(50)`, `m(x=50)`, `m({"x": 50})`, `m(x=50, signature="regress")`.

        The output is that of the signature named; else of `serving_default`; else the one tensor that
        a collection holds; else the only operation that nothing consumes. Inputs go by the signature's
        keys or the placeholders' names; a single unnamed value is for the one input that needs one.

        Returns:
            the output's value; a dict of them where a signature has several.

        Raises:
            AmbiguousOutput: more than one candidate, or none; the message lists them.
            and whatever `run` raises.
        """
        if len(args) > 1:
            raise TypeError(f"a model takes one unnamed value; {len(args)} were given: name them, as m(x=..., y=...)")
        positional = False
        if args and isinstance(args[0], Mapping):
            feeds = {**args[0], **feeds}
        elif args:
            positional = True
        names = tuple(feeds)
        instance = self._instance
        key = ("call", instance.engine, signature, positional, names)
        call = instance.graph.kept.get(key)
        if call is None:
            with self._naming():
                call = instance.graph.once(
                    key, lambda: calls.compile_call(instance.graph, instance.engine, signature, positional, names)
                )
        return self._run(instance, call, (args[0], *feeds.values()) if positional else feeds.values())

    def _run(self, instance: Instance, call: calls.Call, values: Iterable[Any]) -> Any:
        if not instance.prepared:
            with self._naming():
                instance.prepare()
        start = time.perf_counter()
        try:
            result = call.run(instance, values)
        except Exception as error:
            self._count(start, failed=1)
            if isinstance(error, GraphrackError):
                self._named(error)
            raise
        self._count(start, failed=0)
        return result

    def _count(self, start: float, failed: int) -> None:
        seconds = time.perf_counter() - start
        with self._lock:
            self._runs += 1
            self._failures += failed
            self._seconds += seconds

    def _seconds_per_run(self) -> float:
        """The mean so far; 0 before the first run."""
        return self._seconds / self._runs if self._runs else 0.0

    def _named(self, error: GraphrackError) -> None:
        """Makes an error's message say which model it comes from."""
        text = str(error)
        if not text.startswith("model "):
            error.args = (f"model {self.name!r}: {text}", *error.args[1:])

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Adds the model's name to errors."""
        try:
            yield
        except GraphrackError as error:
            self._named(error)
            raise

    def warmup(self, feeds: Any = None, fetches: Any = None) -> None:
        """Compiles what a run needs, now, and waits until that is done: later runs are fast from the first on.

        Without it, an `auto` model answers by the interpreter while OpenVINO compiles in the background. What
        was compiled before, by this process or an earlier one, is only read (`GRAPHRACK_CACHE`). The run is
        made, and its results are dropped; one that would change variables is only planned.

        Attributes:
            feeds: as for `run`, or, without `fetches`, for a call: names to values, or one value. What values
                hardly matters. What is compiled serves any size; where weights are small, it is compiled for
                these very sizes besides, which are somewhat faster then. By default feeds are made up: zeros of
                the static shapes, with 1 for unknown sizes, or what fits instead.
            fetches: as for `run`; by default what a call gives.

        Raises:
            FeedError: nothing that could be made up fits: feeds are needed.
            and whatever `run` raises.
        """
        from graphrack.warming import warm

        with self._naming():
            warm(self._instance, feeds, fetches)

    def explain(
        self, fetches: Any = None, feeds: Mapping[Any, Any] | None = None, *, profile: bool = False
    ) -> Explanation:
        """What a run comes to: its steps, what of the graph is handed to OpenVINO, and why the rest is not.

        Print it, or look at its attributes. Nothing is run, but with `profile`.

        Attributes:
            fetches: as for `run`; by default what a call gives.
            feeds: as for `run`: only the names matter. By default the placeholders that the fetches need.
            profile: run it once, on the values of `feeds`, and measure each step: a step that changes variables
                changes them. A first run is slower than the next ones.

        Raises:
            whatever `run` raises.
        """
        from graphrack.explaining import explain

        with self._naming():
            return explain(self._instance, fetches, feeds, profile)

    # What it takes, gives and holds

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """Inputs by name: those of the default signature by its keys, else the placeholders."""
        graph = self._instance.graph
        return interface.inputs(graph.index, graph.meta_graph, graph.saver)

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """Outputs by name: what a call gives, or could mean where several are possible."""
        graph = self._instance.graph
        return interface.outputs(graph.index, graph.meta_graph, graph.saver)

    @property
    def signatures(self) -> dict[str, Signature]:
        """Signatures by name."""
        graph = self._instance.graph
        return graph.once("signatures", lambda: interface.signatures(graph.meta_graph)).copy()

    @property
    def collections(self) -> dict[str, list[Any]]:
        """The graph's collections; tensors in them are TensorSpecs, which `run` takes as they are."""
        graph = self._instance.graph
        return interface.collections(graph.index, graph.meta_graph)

    @property
    def operations(self) -> Operations:
        """The graph's operations by name."""
        return Operations(self._index)

    @property
    def variables(self) -> Variables:
        """The variables' values by name: reading gives a read-only view, assigning a new value."""
        return Variables(self)

    @property
    def stats(self) -> ModelStats:
        """How often it ran, how long that took, and what it holds in memory."""
        graph, values = self._instance.graph, self._instance.state.values
        with self._lock:
            runs, failures, seconds = self._runs, self._failures, self._seconds
        compiled = sum(part.nbytes for _, part in compiled_parts(self._instance))
        variables = sum(v.nbytes for v in values.values())
        return ModelStats(runs, failures, seconds, variables, graph.memory(), compiled)

    @property
    def path(self) -> str:
        """The file that the graph comes from."""
        return self._instance.file.path

    def _reload(self) -> None:
        """Opens the files anew, brings the values here, and only then takes the new in place of the old."""
        instance = self._opened()
        with self._naming():
            instance.prepare()
        self._instance = instance

    @property
    def _index(self) -> GraphIndex:
        return self._instance.graph.index

    def __repr__(self) -> str:
        return _display.text(self)

    def _repr_html_(self) -> str:
        return _display.html(self)

    # Values

    def restore(
        self,
        checkpoint: str | os.PathLike[str] | Checkpoint,
        *,
        select: Select = None,
        scope: str | None = None,
        rename: Mapping[str, str] | None = None,
        strict: bool = True,
    ) -> None:
        """Takes variables' values from a checkpoint, by the graph's own restore nodes.

        All of it happens or nothing: other threads see the old values or the new ones.

        Attributes:
            checkpoint: a prefix, or a `Checkpoint` (a view that selects, renames or averages, say).
            select: only these of the model's variables: a glob, a list of names, or a predicate.
            scope: the model's variable `scope/w` is found under the checkpoint's name `w`.
            rename: checkpoint name to variable name.
            strict: a selected variable that the checkpoint lacks, or whose shape or dtype differs, is an
                error; otherwise it keeps its value.

        Raises:
            RestoreError: naming every variable that doesn't fit; nothing is changed.
            FileError, CorruptCheckpoint: the checkpoint can't be read.
        """
        from graphrack.restoring import restore

        instance = self._instance
        with self._naming(), instance.preparing:
            averages = getattr(checkpoint, "average_suffix", None) is not None
            if select is not None or scope is not None or not strict or averages:
                instance.prepare()  # a partial restore comes on top of what loading restores
            restore(instance, checkpoint, select, scope, rename, strict)
            instance.checkpoint = None  # it has been replaced; what else a loader does is still to do
            instance.prepare()

    def initialize(self) -> None:
        """Runs the graph's own initialisers, of variables and tables.

        Raises:
            GraphrackError: the graph has no initialisers, or one of them can't run.
        """
        from graphrack.restoring import initialize

        instance = self._instance
        with self._naming(), instance.preparing:
            initialize(instance)
            instance.checkpoint = None
            instance.prepared = True

    # Other models from this one

    def freeze(self, outputs: Any, *, fold: bool = False) -> Model:
        """A new model with only what the outputs need, and the variables' values in the graph as constants.

        Function calls are inlined, branches of constant predicates taken; devices and nodes for training alone
        go, and so do control dependencies, but for those that order what is done to tables and stacks. Tables
        are filled with the entries that they have now. Signatures and collections stay as far as their tensors do.

        Attributes:
            outputs: a name or several: tensors, operations, outputs of signatures, or signatures.
            fold: also compute what depends on constants alone, leave out identities, and fold batch norms into
                the convolutions and matrix products before them. Outputs then agree within 1e-5.

        Raises:
            UnknownName: a name that is none of these.
            GraphError: the outputs need nodes that write variables, or the graph would be larger than the
                2 GB that a GraphDef may be: export such a model as a SavedModel.
            UninitializedError: variables that the outputs need have no values.
        """
        from graphrack.deriving import frozen

        with self._naming():
            return frozen(self, outputs, fold)

    def bind(self, replacements: Mapping[Any, Any], *, scope: str = "") -> Model:
        """A new model in whose graph tensors are replaced for all that take from them, as by `input_map`.

        The variables come along with their values, tables with their entries; from then on each model has its own.
        Names stay: a value that replaces a placeholder has its name. All replacements are made at once: `{"x:0": "y:0",
        "y:0": "x:0"}` swaps two inputs. What only the replaced tensors needed is left out.

        Attributes:
            replacements: names of any tensors (or inputs of the default signature) to what replaces them: a value
                of the tensor's dtype and shape, converted as feeds are; a `TensorSpec`, for a new placeholder of its
                name, dtype (numbers are cast to the tensor's) and shape; or the name of another tensor.
            scope: what all operations' names come to begin with, as in `import_graph_def(name=scope)`.

        Raises:
            UnknownName: a name that the graph doesn't have.
            FeedError: a value, placeholder or tensor whose dtype or shape doesn't fit.
            GraphError: a tensor would need itself, or a new placeholder's name is taken.
        """
        from graphrack.binding import bound

        with self._naming():
            return bound(self, replacements, scope.rstrip("/"))

    def export(self, path: str | os.PathLike[str]) -> str:
        """Writes the model in the form that the path names, for TensorFlow and others to load.

            name.pb, name.pbtxt   a GraphDef, binary or as text; only of a model without variables (freeze it)
            name.meta             a MetaGraphDef, and the checkpoint `name` beside it where it has variables
            anything else         a folder, new or empty: a SavedModel with signatures, values and assets

        A SavedModel of a model without signatures gets `serving_default`: what a call gives or could mean, and
        the placeholders that this needs. A reader sees nothing or all of it: files take their names when done.

        Returns:
            the path.

        Raises:
            GraphError: a GraphDef was asked for of a model with variables, or would be larger than 2 GB.
            FileError: it can't be written, or the folder isn't empty.
            UninitializedError: variables have no values.
        """
        from graphrack.exporting import export

        with self._naming():
            return export(self, path)

    def save(self, prefix: str | os.PathLike[str], global_step: Any = None) -> str:
        """Saves graph and values as TensorFlow's Saver does, and TensorFlow restores them.

        Writes `prefix.data-…`, `prefix.index`, `prefix.meta` and the folder's `checkpoint` state file, each so
        that a reader sees the old file or the new one, by the graph's own save nodes.

        Attributes:
            global_step: a number that is appended to the prefix: `model-1000`.

        Returns:
            the checkpoint's prefix.

        Raises:
            FileError: the folder can't be written, or the disk is full; the old checkpoint is intact.
            UninitializedError: variables have no values.
        """
        from graphrack.saving import save

        instance = self._instance
        with self._naming():
            instance.prepare()
            return save(instance, prefix, global_step)


class Variables(MutableMapping[str, Array]):
    """A model's variables: names to values. Values are read-only views; assign to change one."""

    def __init__(self, model: Model):
        self._model = model

    def _variable(self, name: str) -> Variable:
        known = self._model._index.variables
        if name not in known:
            name = name.removesuffix(":0")
        if name not in known:
            raise UnknownName(f"model {self._model.name!r} has no variable {name!r}{closest(name, known)}")
        return known[name]

    @property
    def _state(self) -> ModelState:
        """The values, brought here first if loading left that to the first use."""
        instance = self._model._instance
        if not instance.prepared:
            with self._model._naming():
                instance.prepare()
        return instance.state

    def __getitem__(self, name: str) -> Array:
        variable = self._variable(name)
        try:
            view: Array = np.asarray(self._state.values[variable.key]).view()
        except KeyError:
            error = uninitialized([variable.name])
            self._model._named(error)
            raise error from None
        view.flags.writeable = False
        return view

    def __setitem__(self, name: str, value: Any) -> None:
        variable = self._variable(name)
        with self._model._naming():
            array = converter(variable.spec)(value)
        # The caller keeps his array, and may go on writing into it.
        self._state.update({variable.key: np.array(array)})

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"variable {name!r} belongs to the graph and can't be deleted; assign another value instead")

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.removesuffix(":0") in self._model._index.variables

    def __iter__(self) -> Iterator[str]:
        return iter(self._model._index.variables)

    def __len__(self) -> int:
        return len(self._model._index.variables)

    def spec(self, name: str) -> TensorSpec:
        """A variable's name, dtype and shape as the graph declares them."""
        return self._variable(name).spec

    def __repr__(self) -> str:
        return f"<{len(self)} variables of model {self._model.name!r}>"
