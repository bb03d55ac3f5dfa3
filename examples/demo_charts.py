"""Charts for the demo's report, as inline SVG whose colours the page's style gives."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from demo_results import Curve
from numpy.typing import NDArray


class Plot:
    """A drawing area with linear axes, from data coordinates to those of an SVG."""

    LEFT, TOP, RIGHT, BOTTOM = 48, 26, 16, 34

    def __init__(self, width: int, height: int, x: tuple[float, float], y: tuple[float, float]):
        self.width, self.height = width, height
        self._x, self._y = x, y
        self._parts: list[str] = []

    def x(self, value: float) -> float:
        """Where a value of the horizontal axis lies."""
        low, high = self._x
        return self.LEFT + (value - low) / (high - low) * (self.width - self.LEFT - self.RIGHT)

    def y(self, value: float) -> float:
        """Where a value of the vertical axis lies."""
        low, high = self._y
        return self.height - self.BOTTOM - (value - low) / (high - low) * (self.height - self.TOP - self.BOTTOM)

    def add(self, part: str) -> None:
        """Draws an SVG element."""
        self._parts.append(part)

    def text(self, x: float, y: float, words: str, anchor: str = "middle", kind: str = "") -> None:
        """Writes at a point of the SVG."""
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{words}</text>')

    def rows(self, ticks: Iterable[tuple[float, str]]) -> None:
        """Horizontal lines, each with its label to the left."""
        for value, label in ticks:
            at = self.y(value)
            right = self.width - self.RIGHT
            self.add(f'<line class="grid" x1="{self.LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>')
            self.text(self.LEFT - 8, at + 4, label, "end")

    def columns(self, ticks: Iterable[tuple[float, str]]) -> None:
        """Labels below the horizontal axis."""
        for value, label in ticks:
            self.text(self.x(value), self.height - self.BOTTOM + 18, label)

    def line(self, xs: Iterable[float], ys: Iterable[float]) -> None:
        """Draws a curve through points of the data."""
        points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        self.add(f'<polyline class="curve" points="{points}"/>')

    def dot(self, x: float, y: float, radius: float, kind: str, title: str) -> None:
        """Marks a point of the data; `title` shows when the pointer rests on it."""
        self.add(
            f'<circle class="{kind}" cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius}">'
            f"<title>{title}</title></circle>"
        )

    def svg(self, label: str) -> str:
        """The finished drawing; `label` is for those who can't see it."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{label}">'
            f"{''.join(self._parts)}</svg>"
        )


def cubic_chart(curve: Curve) -> str:
    """The points that the cubic was fitted to, and the curve that the model gives."""
    plot = Plot(920, 380, (float(curve.grid[0]), float(curve.grid[-1])), (0.0, 3.0))
    plot.rows((value, f"{value:g}") for value in np.arange(0, 3.01, 0.5))
    plot.columns((value, str(value)) for value in range(1, 8))
    plot.text(plot.LEFT, 14, "width of the petal by its length, cm", "start")
    for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
        plot.dot(x, y, 4, "point", f"{x:.1f} cm long, {y:.1f} cm wide")
    plot.line(curve.grid.tolist(), curve.values.tolist())
    return plot.svg("Petal widths over lengths with the fitted cubic")


def steps_chart(steps: dict[str, float]) -> str:
    """Accuracy at each step."""
    shares = list(steps.values())
    low = np.floor(min(shares) * 50) / 50 - 0.02  # to the 2 % below
    plot = Plot(440, 400, (-0.35, len(steps) - 0.65), (low, 1.0))
    plot.rows((value, f"{value:.0%}") for value in np.arange(low, 1.001, 0.02))
    plot.columns(enumerate(steps))
    plot.text(plot.LEFT, 14, "accuracy by training step", "start")
    plot.line(range(len(steps)), shares)
    for place, (step, share) in enumerate(steps.items()):
        plot.dot(place, share, 5, "mark", f"step {step}: {share:.2%}")
        plot.text(plot.x(place), plot.y(share) - 12, f"{share:.1%}", kind="strong")
    return plot.svg("Accuracy of the convolutional model while it trained")


def confusion(answers: NDArray[np.int64], labels: NDArray[np.int64]) -> str:
    """How often each digit was taken for each: right ones on the diagonal."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, answers), 1)
    plot = Plot(440, 400, (-0.5, 9.5), (9.5, -0.5))
    plot.text(plot.LEFT, 14, "digit shown by digit answered", "start")
    side = min(plot.x(1) - plot.x(0), plot.y(1) - plot.y(0)) - 3
    for digit in range(10):
        plot.text(plot.LEFT - 8, plot.y(digit) + 4, str(digit), "end")
        plot.text(plot.x(digit), plot.height - plot.BOTTOM + 18, str(digit))
        for answer in range(10):
            count = int(counts[digit, answer])
            x, y = plot.x(answer), plot.y(digit)
            kind = "empty" if not count else "right" if digit == answer else "wrong"
            plot.add(
                f'<rect class="{kind}" x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side:.1f}" '
                f'height="{side:.1f}" rx="4"><title>{digit} taken for {answer}: {count}</title></rect>'
            )
            if count:
                plot.text(x, y + 4, str(count), kind="on")
    return plot.svg("Digits shown against digits answered")
