"""What the demo found, for the terminal, the picture and the report alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def duration(seconds: float) -> str:
    """Seconds in the unit that suits: `85 µs`, `3.2 ms`, `1.4 s`."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if seconds * scale >= 1 or unit == "µs":
            value = seconds * scale
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    raise AssertionError


def size(count: int) -> str:
    """Bytes in the unit that suits: `312 B`, `28.5 kB`, `1.2 MB`."""
    if count < 1000:
        return f"{count} B"
    return f"{count / 1e3:.1f} kB" if count < 1e6 else f"{count / 1e6:.1f} MB"


@dataclass(frozen=True)
class ModelResult:
    """One model: what it is, what it gave, how long it took (seconds) and what it holds (bytes)."""

    name: str
    path: str
    kind: str
    output: NDArray[Any]
    accuracy: float | None
    difference: float
    opening: float
    first_run: float
    per_run: float
    memory: int
    summary: str

    def figures(self) -> list[str]:
        """Accuracy, largest difference from TensorFlow, opening, first run, run, memory; as text."""
        return [
            "" if self.accuracy is None else f"{self.accuracy:.2%}",
            "equal" if self.difference == 0 else f"{self.difference:.1e}",
            duration(self.opening),
            duration(self.first_run),
            duration(self.per_run),
            size(self.memory),
        ]

    def answers(self) -> NDArray[np.int64]:
        """The digit it names for each image."""
        return np.asarray(self.output.argmax(axis=-1), np.int64)


@dataclass(frozen=True)
class Curve:
    """The cubic regression: the points it was fitted to, its values on a grid, its coefficients a, b, c, d."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    grid: NDArray[np.float32]
    values: NDArray[np.float32]
    coefficients: list[float]
    at_50: float


@dataclass(frozen=True)
class Results:
    """All that the demo found. `together` is in seconds, `grown` the process's growth in bytes."""

    models: dict[str, ModelResult]
    votes: NDArray[np.int64]
    vote_accuracy: float
    together: float
    grown: int | None
    steps: dict[str, float]
    curve: Curve
    made_with: str
    graphrack: str
    tolerance: float

    @property
    def classifiers(self) -> list[ModelResult]:
        """The models that classify digits."""
        return [model for model in self.models.values() if model.accuracy is not None]

    @property
    def difference(self) -> float:
        """The largest difference from TensorFlow of any model's output."""
        return max(model.difference for model in self.models.values())

    @property
    def opening(self) -> float:
        """Seconds to open all models."""
        return sum(model.opening for model in self.models.values())

    def answers(self) -> dict[str, NDArray[np.int64]]:
        """Short name to the digit named for each image: the single classifiers, and the vote."""
        single = {"conv": "digits_conv", "frozen": "digits_frozen.pb", "saved": "digits_saved_model"}
        return {short: self.models[name].answers() for short, name in single.items()} | {"vote": self.votes}

    def conclusion(self) -> str:
        """The findings in two sentences."""
        grown = "" if self.grown is None else f" The process grew by {size(self.grown)}, code of the ops included."
        return (
            f"Every output is TensorFlow {self.made_with}'s within {self.difference:.1e} "
            f"({self.tolerance:g} is allowed), every accuracy equal to its. "
            f"Opening all {len(self.models)} models took {duration(self.opening)}, "
            f"running six of them at once on {len(self.votes)} images {duration(self.together)}.{grown}"
        )
