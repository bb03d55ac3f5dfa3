"""Which engine runs a model's plans, and how."""

from __future__ import annotations

from typing import NamedTuple

PRECISIONS = ("f32", "bf16")


class Engine(NamedTuple):
    """What a user chose when loading a model; part of what plans are shared by.

    Attributes:
        name: `"auto"` (clusters where they pay, compiled in the background), `"numpy"` (the interpreter
            alone), `"openvino"` (as much as possible in clusters, compiled at once) or `"tensorflow"`.
        precision: what clusters compute in: `"f32"`, or `"bf16"` where the processor has it.
    """

    name: str = "auto"
    precision: str = "f32"


NUMPY = Engine("numpy")
