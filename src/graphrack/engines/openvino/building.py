"""A cluster of a plan as a step: what goes into it, what comes out, and the program in between."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from graphrack.engines.interpreter.order import Cluster
from graphrack.engines.interpreter.steps import Step
from graphrack.engines.openvino.compiled import Input, Part, Source
from graphrack.engines.openvino.interface import Interface
from graphrack.engines.openvino.ops import DTYPES
from graphrack.engines.openvino.step import ClusterStep
from graphrack.formats.dtypes import DType
from graphrack.formats.op_table import defaults
from graphrack.formats.tensor import attr_value
from graphrack.graph.index import Shape

Tensor = tuple[str, int]


class ClusterBuilder:
    """Makes clusters' steps.

    Attributes:
        inputs_of: each node's inputs.
        slots: of the plan's tensors.
        constants: values of slots that no run changes.
        variables: slots that hold variables' values.
        dtype_of, shape_of: a tensor's static dtype and shape, None where it isn't known.
        eager: whether a cluster is to be compiled at once, whatever it costs.
        fluid: whether variables change from run to run.
        precision: what OpenVINO computes in.
    """

    def __init__(
        self,
        inputs_of: Mapping[str, Sequence[Tensor]],
        slots: Mapping[Tensor, int],
        constants: Mapping[int, Any],
        variables: Collection[int],
        dtype_of: Callable[[Tensor], DType | None],
        shape_of: Callable[[Tensor], Shape],
        *,
        eager: bool,
        fluid: bool,
        precision: str,
    ):
        self._inputs_of = inputs_of
        self._slots = slots
        self._constants = constants
        self._variables = variables
        self._dtype_of = dtype_of
        self._shape_of = shape_of
        self._eager = eager
        self._fluid = fluid
        self._precision = precision

    def step(
        self,
        cluster: Cluster,
        value_slots: Mapping[int, int],
        taken_outside: Collection[Tensor],
        inner: Step,
    ) -> ClusterStep | None:
        """The step; None where there is nothing that OpenVINO could take or would give.

        Attributes:
            value_slots: of slots that hold a variable's reference, the slot of its value.
            taken_outside: tensors that other nodes take, or that are fetched.
            inner: the nodes' own steps, as one.
        """
        made: dict[int, Source] = {}
        constants: dict[str, Any] = {}
        weights: dict[str, int] = {}
        brought: dict[str, tuple[int, Input]] = {}
        parts = []
        for node in cluster.nodes:
            found = {**defaults(node.op), **node.attr}
            attributes = {key: attr_value(value) for key, value in found.items() if not key.startswith("_")}
            count = attributes.get("num_split") or attributes.get("num") or attributes.get("N") or 1
            slots_of = {i: self._slots[node.name, i] for i in range(count) if (node.name, i) in self._slots}
            own = {i: slot for i, slot in slots_of.items() if slot not in self._constants}
            if not own:
                continue
            sources = []
            for tensor in self._inputs_of[node.name]:
                slot = value_slots.get(self._slots[tensor], self._slots[tensor])
                source = made.get(slot)
                if source is None:
                    if slot in self._constants:
                        source = Source(f"constant_{slot}", 0)
                        constants[source.name] = np.asarray(self._constants[slot])
                    elif slot in self._variables:
                        source = Source(f"weight_{slot}", 0)
                        weights[source.name] = slot
                    else:
                        source = Source(f"input_{slot}", 0)
                        dtype = self._dtype_of(tensor)
                        if dtype is None or dtype.number not in DTYPES:
                            return None
                        brought[source.name] = (slot, Input(source.name, np.dtype(dtype.numpy), self._shape_of(tensor)))
                sources.append(source)
            if node.op == "Identity" and own == {0: self._slots[self._inputs_of[node.name][0]]}:
                made.setdefault(own[0], sources[0])  # it has no step, and no slot of its own
                continue
            if node.op == "ShapeN":  # each on its own; "~" is in no node's name
                for i, slot in own.items():
                    parts.append(Part(f"{node.name}~{i}", "Shape", attributes, (sources[i],)))
                    made[slot] = Source(parts[-1].name, 0)
                continue
            parts.append(Part(node.name, node.op, attributes, tuple(sources)))
            made.update((slot, Source(node.name, i)) for i, slot in own.items())
        names = {part.name for part in parts}
        outputs = {
            slot: made[slot]
            for tensor in taken_outside
            if (slot := self._slots.get(tensor, -1)) in made and made[slot].name in names
        }
        if not outputs:
            return None
        interface = Interface(
            tuple(parts),
            constants,
            tuple(given for _, given in brought.values()),
            tuple(weights),
            tuple(outputs.values()),
        )
        slots = [slot for slot, _ in brought.values()]
        return ClusterStep(
            interface,
            slots,
            list(weights.values()),
            list(outputs),
            inner,
            eager=self._eager,
            fluid=self._fluid,
            precision=self._precision,
        )
