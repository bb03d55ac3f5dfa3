"""What a cluster computes: its nodes, and what goes in and comes out."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np

from graphrack.engines.openvino.compiled import Input, Part, Source

Array = np.ndarray[Any, Any]


class Interface(NamedTuple):
    """What a cluster computes: its nodes, what they take and give.

    Attributes:
        parts: its nodes.
        constants: values that never change, by name.
        inputs: what every run brings.
        weights: names of variables' values.
        outputs: tensors that others take.
    """

    parts: tuple[Part, ...]
    constants: dict[str, Array]
    inputs: tuple[Input, ...]
    weights: tuple[str, ...]
    outputs: tuple[Source, ...]

    def key(self) -> Hashable:
        """What tells it from other clusters of its plan, however slots are numbered there."""
        nodes, others = {part.name for part in self.parts}, dict[str, str]()

        def called(source: Source) -> Source:
            if source.name in nodes:
                return source
            kind = source.name.partition("_")[0]
            return source._replace(name=others.setdefault(source.name, f"{kind}~{len(others)}"))

        return tuple((part.name, *map(called, part.inputs)) for part in self.parts), self.outputs
