"""Which engine runs a model's plans, and how."""

from __future__ import annotations

from typing import NamedTuple

ENGINES = ("auto", "numpy", "openvino", "tensorflow")
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


def checked(name: str, precision: str = "f32") -> Engine:
    """The choice that a user names.

    Raises:
        ValueError: an engine or a precision that there isn't.
        MissingDependency: TensorFlow is chosen, and isn't installed.
    """
    if name not in ENGINES:
        raise ValueError(f"engine {name!r} doesn't exist; there are: {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} doesn't exist; there are: {', '.join(PRECISIONS)}")
    if name == "tensorflow":
        from graphrack.engines.tensorflow.library import require_installed

        require_installed()
    return Engine(name, precision)


NUMPY = Engine("numpy")
