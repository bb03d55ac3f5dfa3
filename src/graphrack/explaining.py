"""What a run comes to: `Model.explain`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphrack import _calls as calls
from graphrack.engines import fetches as fetching
from graphrack.engines.interpreter.compiler import why_not_clustered
from graphrack.engines.interpreter.plan import Place, Plan
from graphrack.graph import interface
from graphrack.graph.index import PLACEHOLDERS
from graphrack.graph.names import TensorName
from graphrack.graph.prune import needed

if TYPE_CHECKING:
    from graphrack.engines.openvino.step import ClusterStep
    from graphrack.instance import Instance

_MOST = 40
_MOST_NODES = 6


@dataclass(frozen=True)
class ExplainedCluster:
    """A region of the graph that is handed to OpenVINO as a whole.

    Attributes:
        name: of its last node.
        nodes: names of its nodes, each after those that it takes values of.
        ops: how many nodes of each op.
        inputs: how many tensors a run brings to it.
        weights: how many variables it reads.
        outputs: the tensors that others take of it.
        where: `"plan"`, or `"function"` in the body of a While, an If or a call; in a loop of TensorFlow 1, `"loop"`.
        state: what is known of it: `"not run yet"`, `"compiled"`, `"compiling"`, `"interpreter"` where it doesn't pay
            or its values can't be taken, or what OpenVINO says against it.
        interpreter_seconds: what a run on the shapes seen last is estimated to take without OpenVINO; None before.
        openvino_seconds: and with it.
    """

    name: str
    nodes: tuple[str, ...]
    ops: Mapping[str, int]
    inputs: int
    weights: int
    outputs: tuple[str, ...]
    where: str
    state: str
    interpreter_seconds: float | None
    openvino_seconds: float | None


@dataclass(frozen=True)
class ExplainedStep:
    """One step of a plan.

    Attributes:
        name: of its node; of a cluster's last one.
        op: of its node, or `"cluster"`; `"LoopCond"` is a loop of TensorFlow 1 with all that is in it.
        cluster: what it hands to OpenVINO, where it does.
        seconds: that it took; None where nothing was measured.
    """

    name: str
    op: str
    cluster: ExplainedCluster | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Explanation:
    """What a run comes to. Prints itself; a notebook shows it as a table.

    Attributes:
        engine: what the model was loaded with.
        runs_on: `"graphrack"`, or `"TensorFlow"` where a session runs all of it.
        fetches: what is computed.
        feeds: what is given.
        writes: whether the run changes variables.
        steps: in the order in which they run.
        clusters: of the plan, of its loops and of the functions that it calls.
        outside: names of nodes that are in no cluster, each with the reason; empty with `engine="numpy"`.
        seconds: that the run took in all; None where nothing was measured.
    """

    engine: str
    runs_on: str
    fetches: tuple[str, ...]
    feeds: tuple[str, ...]
    writes: bool
    steps: tuple[ExplainedStep, ...] = ()
    clusters: tuple[ExplainedCluster, ...] = ()
    outside: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None

    def __str__(self) -> str:
        lines = [self._title()]
        if self.seconds is not None:
            lines.append(f"  took {_time(self.seconds)}")
        shown = self.steps
        if self.seconds is not None and len(shown) > _MOST:
            slowest = sorted(shown, key=lambda step: -(step.seconds or 0))[:_MOST]
            shown = tuple(step for step in self.steps if step in slowest)
        shown = shown[:_MOST]
        width = max((len(step.op) for step in shown), default=0)
        for step in shown:
            seconds = f"{_time(step.seconds):>10}  " if step.seconds is not None else ""
            nodes = f" ({len(step.cluster.nodes)} nodes)" if step.cluster is not None else ""
            lines.append(f"  {seconds}{step.op:<{width}}  {step.name}{nodes}")
        if len(self.steps) > len(shown):
            what = "faster ones" if self.seconds is not None else "more"
            lines.append(f"  … and {len(self.steps) - len(shown)} {what}")
        for number, cluster in enumerate(self.clusters, 1):
            lines += _cluster_lines(number, cluster)
        if self.outside:
            lines.append("in no cluster:")
            for reason, names in _by_reason(self.outside):
                shortened = ", ".join(names[:_MOST_NODES])
                more = f" and {len(names) - _MOST_NODES} more" if len(names) > _MOST_NODES else ""
                lines.append(f"  {reason}: {shortened}{more}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        import html

        return f"<pre>{html.escape(str(self))}</pre>"

    def _title(self) -> str:
        what = ", ".join(self.fetches) or "nothing"
        given = f" given {', '.join(self.feeds)}" if self.feeds else ""
        if self.runs_on != "graphrack":
            return f"{what}{given}: a session of {self.runs_on}, engine {self.engine!r}"
        steps, clusters = len(self.steps), len(self.clusters)
        return (
            f"{what}{given}: {steps} step{'s' * (steps != 1)}, {clusters} cluster{'s' * (clusters != 1)}, "
            f"engine {self.engine!r}{', changes variables' if self.writes else ''}"
        )


def explain(instance: Instance, fetches: Any, feeds: Mapping[Any, Any] | None, profile: bool) -> Explanation:
    """The explanation of a run; see `Model.explain`."""
    graph = instance.graph
    index = graph.index
    if profile and feeds is None:
        feeds = {}
    if fetches is None:
        prediction = graph.once(
            ("prediction", None), lambda: interface.predict(index, graph.meta_graph, graph.saver, None)
        )
        fetches = [str(tensor) for tensor in prediction.outputs.values()]
    flat, _ = fetching.flatten(index, fetches)
    if feeds is None:
        wanted = {n.name: TensorName(n.name, 0) for n in needed(index, flat, ()).order if n.op in PLACEHOLDERS}
        names: tuple[Any, ...] = tuple(str(wanted[key]) for key in interface.required(index, wanted))
    else:
        names = tuple(feeds)
    call = graph.once(
        ("run", instance.engine, fetching.key(fetches), names),
        lambda: calls.compile_run(graph, instance.engine, fetches, names),
    )
    plan = call.plan.now if isinstance(call.plan, Plan) else call.plan
    given = tuple(str(index.tensor(fetching.name_of(name))) for name in names)
    wanted_names = tuple(str(f) for f in flat)
    if not isinstance(plan, Plan):
        return Explanation(instance.engine.name, "TensorFlow", wanted_names, given, plan.writes)
    was_large = plan is not call.plan
    seconds: list[float] | None = None
    total: float | None = None
    if profile:
        assert feeds is not None
        seconds = []
        plan, total = _run(instance, call, plan, feeds, seconds)
    fed = [index.tensor(fetching.name_of(name)) for name in names]
    outside = why_not_clustered(index, flat, fed, instance.engine, large=was_large)
    return _explained(instance.engine.name, plan, wanted_names, given, seconds, total, outside)


def _run(
    instance: Instance, call: calls.Call, plan: Plan, feeds: Mapping[Any, Any], seconds: list[float]
) -> tuple[Plan, float]:
    """Runs a plan and fills in what its steps took; gives those steps' plan, and what they took in all."""
    instance.prepare()

    def note(number: int, took: float) -> None:
        seconds[number] += took

    timed = plan.timed(note)
    seconds += [0.0] * len(timed.steps())
    call._replace(plan=timed).run(instance, feeds.values())
    return timed, sum(seconds)


def _explained(
    engine: str,
    plan: Plan,
    fetches: tuple[str, ...],
    feeds: tuple[str, ...],
    seconds: Sequence[float] | None,
    total: float | None,
    outside: Mapping[str, str],
) -> Explanation:
    steps, clusters = [], []
    own = {id(cluster): _cluster(cluster, place, "plan") for cluster, place in plan.clusters()}
    met: set[int] = set()
    for number, (place, cluster) in enumerate(plan.steps()):
        if place is None:  # what only lets go of values
            continue
        explained = None
        if cluster is not None:
            met.add(id(cluster))
            explained = own[id(cluster)]
            clusters.append(explained)
        steps.append(ExplainedStep(place.name, place.op, explained, None if seconds is None else seconds[number]))
    clusters += [_cluster(c, place, "loop") for c, place in plan.clusters() if id(c) not in met]
    for body in plan.bodies():
        clusters += [_cluster(cluster, place, "function") for cluster, place in body.clusters()]
    return Explanation(
        engine, "graphrack", fetches, feeds, plan.writes, tuple(steps), tuple(clusters), dict(outside), total
    )


def _cluster(step: ClusterStep, place: Place, where: str) -> ExplainedCluster:
    one = step.interface
    return ExplainedCluster(
        place.name,
        tuple(part.name for part in one.parts),
        dict(Counter(part.op for part in one.parts).most_common()),
        len(one.inputs),
        len(one.weights),
        tuple(f"{source.name}:{source.output}" for source in one.outputs),
        where,
        step.state(),
        step.cost.interpreter if step.cost is not None else None,
        step.cost.openvino if step.cost is not None else None,
    )


def as_json(explanation: Explanation) -> dict[str, Any]:
    """An explanation for programs."""

    def cluster(one: ExplainedCluster) -> dict[str, Any]:
        return {
            "name": one.name,
            "nodes": list(one.nodes),
            "ops": [{"op": op, "nodes": count} for op, count in one.ops.items()],
            "inputs": one.inputs,
            "weights": one.weights,
            "outputs": list(one.outputs),
            "where": one.where,
            "state": one.state,
            "interpreter_seconds": one.interpreter_seconds,
            "openvino_seconds": one.openvino_seconds,
        }

    return {
        "engine": explanation.engine,
        "runs_on": explanation.runs_on,
        "fetches": list(explanation.fetches),
        "feeds": list(explanation.feeds),
        "writes": explanation.writes,
        "seconds": explanation.seconds,
        "steps": [{"name": s.name, "op": s.op, "seconds": s.seconds} for s in explanation.steps],
        "clusters": [cluster(one) for one in explanation.clusters],
        "outside": [{"node": name, "reason": reason} for name, reason in explanation.outside.items()],
    }


def _cluster_lines(number: int, cluster: ExplainedCluster) -> list[str]:
    where = {"plan": "", "loop": " in a loop", "function": " in a function"}[cluster.where]
    lines = [f"cluster {number}{where}: {cluster.name}, {len(cluster.nodes)} nodes, {cluster.state}"]
    ops = ", ".join(f"{count} {op}" for op, count in list(cluster.ops.items())[:_MOST_NODES])
    more = ", …" if len(cluster.ops) > _MOST_NODES else ""
    lines.append(f"  of {ops}{more}; takes {cluster.inputs} tensors and {cluster.weights} variables")
    lines.append(f"  gives {', '.join(cluster.outputs[:_MOST_NODES])}")
    if cluster.interpreter_seconds is not None and cluster.openvino_seconds is not None:
        lines.append(
            f"  estimated: {_time(cluster.openvino_seconds)} by OpenVINO, "
            f"{_time(cluster.interpreter_seconds)} by the interpreter"
        )
    return lines


def _by_reason(outside: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for name, reason in outside.items():
        found.setdefault(reason, []).append(name)
    return sorted(found.items(), key=lambda item: -len(item[1]))


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


__all__ = ["ExplainedCluster", "ExplainedStep", "Explanation", "as_json", "explain"]
