"""A cluster of a plan as a step: what goes into it, what comes out, and the program in between."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from graphrack.engines.interpreter.order import Cluster
from graphrack.engines.interpreter.steps import Step
from graphrack.engines.openvino.compiled import ClusterProgram, Input, Part, Source, can_hold
from graphrack.engines.openvino.shapes import Inference
from graphrack.engines.openvino.step import ClusterStep
from graphrack.formats.tensor import attr_value
from graphrack.graph.index import GraphIndex, Shape
from graphrack.graph.names import TensorName

Tensor = tuple[str, int]


class ClusterBuilder:
    """Makes clusters' steps, given the slots of the plan's tensors and the constants among them."""

    def __init__(self, index: GraphIndex, slots: Mapping[Tensor, int], constants: Mapping[int, Any]):
        self._index = index
        self._slots = slots
        self._constants = constants

    def step(
        self,
        cluster: Cluster,
        inputs_of: Mapping[str, Sequence[Tensor]],
        fixed: Collection[str],
        taken_outside: Collection[Tensor],
        inner: Sequence[Step],
    ) -> tuple[Step, list[int]]:
        """The step, and the slots that it reads.

        Attributes:
            inputs_of: each node's inputs.
            fixed: nodes that give the same values in every run.
            taken_outside: tensors that other nodes take, or that are fetched.
            inner: the nodes' own steps.
        """
        own = {n.name for n in cluster.nodes if self._slots[n.name, 0] not in self._constants}
        constants: dict[str, Any] = {}
        weights: dict[str, int] = {}
        fed: dict[str, tuple[int, Shape]] = {}
        parts = []
        for node in cluster.nodes:
            if node.name not in own:
                continue
            sources = []
            for tensor in inputs_of[node.name]:
                slot = self._slots[tensor]
                if tensor[0] in own:
                    sources.append(Source(*tensor))
                    continue
                if slot in self._constants and can_hold(self._constants[slot]):
                    name = f"constant_{slot}"
                    constants[name] = self._constants[slot]
                elif tensor[0] in fixed:
                    name = f"weight_{slot}"
                    weights[name] = slot
                else:
                    name = f"input_{slot}"
                    fed[name] = (slot, self._index.output_shape(TensorName(*tensor)))
                sources.append(Source(name, 0))
            attributes = {key: attr_value(value) for key, value in node.attr.items() if not key.startswith("_")}
            parts.append(Part(node.name, node.op, attributes, tuple(sources)))
        outputs = [Source(name, 0) for name in own if (name, 0) in taken_outside]
        inputs = [Input(name, np.dtype(np.float32), shape) for name, (_, shape) in fed.items()]
        program = ClusterProgram(parts, constants, list(weights), inputs, outputs)
        slots, weight_slots = [slot for slot, _ in fed.values()], list(weights.values())
        step = ClusterStep(
            program, Inference(program), slots, weight_slots, [self._slots[s.name, s.output] for s in outputs], inner
        )
        return step, [*slots, *weight_slots]
