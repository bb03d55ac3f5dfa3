"""How a model shows itself: as text, and as HTML in a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from graphrack.formats.tensor_spec import TensorSpec

if TYPE_CHECKING:
    from graphrack.model import Model

_MOST = 12


def shape(value: tuple[int | None, ...] | None) -> str:
    """A shape as `[?, 28, 28]`, or `unknown`."""
    return "unknown" if value is None else "[" + ", ".join("?" if s is None else str(s) for s in value) + "]"


def size(count: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _sections(model: Model) -> list[tuple[str, list[tuple[str, str]]]]:
    """Headings with (name, what) rows: shared by both forms."""

    def specs(items: Iterable[tuple[str, TensorSpec]]) -> list[tuple[str, str]]:
        return [
            (key, f"{spec.dtype} {shape(spec.shape)}" + ("" if spec.name in (key, f"{key}:0") else f"  {spec.name}"))
            for key, spec in items
        ]

    variables = model._index.variables
    rows = [("inputs", specs(model.inputs.items())), ("outputs", specs(model.outputs.items()))]
    if model.signatures:
        rows.append(
            (
                "signatures",
                [(s.name, f"({', '.join(s.inputs)}) -> {', '.join(s.outputs)}") for s in model.signatures.values()],
            )
        )
    rows.append(("variables", specs((v.name, v.spec) for v in variables.values())))
    return rows


def _title(model: Model) -> str:
    version = model._instance.file.tf_version
    wrote = f", TensorFlow {version}" if version else ""
    return f"Model {model.name!r} ({model._instance.file.kind}{wrote}): {len(model._index)} operations"


def _short(rows: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], int]:
    return (rows, 0) if len(rows) <= _MOST else (rows[:_MOST], len(rows) - _MOST)


def text(model: Model) -> str:
    """What the model takes, gives and holds, as lines of text."""
    lines = [_title(model)]
    for heading, rows in _sections(model):
        shown, left = _short(rows)
        width = max((len(name) for name, _ in shown), default=0)
        lines.append(f"  {heading}" + ("" if rows else ": none"))
        lines += [f"    {name:<{width}}  {what}" for name, what in shown]
        if left:
            lines.append(f"    … and {left} more")
    return "\n".join(lines)


def html(model: Model) -> str:
    """The same as a small table."""
    import html as escaping

    def cell(tag: str, content: Any, style: str = "") -> str:
        return f'<{tag} style="text-align:left;{style}">{escaping.escape(str(content))}</{tag}>'

    lines = [f"<div><strong>{escaping.escape(_title(model))}</strong><table>"]
    for heading, rows in _sections(model):
        shown, left = _short(rows)
        for i, (name, what) in enumerate(shown or [("none", "")]):
            first = cell("th", heading if i == 0 else "")
            lines.append(f"<tr>{first}{cell('td', name, 'font-family:monospace')}{cell('td', what)}</tr>")
        if left:
            lines.append(f"<tr><td></td>{cell('td', f'… and {left} more')}<td></td></tr>")
    return "\n".join([*lines, "</table></div>"])
