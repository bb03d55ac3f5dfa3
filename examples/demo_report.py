"""The demo's report: one HTML file that needs nothing else, for light and dark screens."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from demo_charts import confusion, cubic_chart, steps_chart
from demo_results import Results, duration, size
from digits import Digits

STYLE = """
:root { color-scheme: light dark;
  --paper: #f6f5f2; --card: #ffffff; --ink: #1d1d1b; --muted: #66655f; --line: #dfddd6;
  --accent: #1f6f8b; --bad: #c62f2f; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #171716; --card: #20201e; --ink: #ecebe6; --muted: #a3a199; --line: #383733;
  --accent: #62b6d2; --bad: #f07b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 3rem 1.25rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .5rem; }
p { margin: .4rem 0 1rem; max-width: 46rem; }
.muted, figcaption { color: var(--muted); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem;
  margin: 1.5rem 0; padding: 0; }
.tiles div, .card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .9rem 1.1rem; }
.tiles div { display: flex; flex-direction: column; justify-content: space-between; }
.tiles dt { color: var(--muted); font-size: .85rem; }
.tiles dd { margin: .1rem 0 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; padding: .3rem .6rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .42rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { font-size: .82rem; font-weight: 600; color: var(--muted); }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left; }
tbody tr:last-child td { border-bottom: 0; }
tr.vote td { font-weight: 600; border-top: 2px solid var(--line); }
code, pre { font: .87em/1.5 ui-monospace, "Cascadia Code", Menlo, "DejaVu Sans Mono", monospace; }
pre { overflow-x: auto; margin: .6rem 0 .2rem; }
details { border-bottom: 1px solid var(--line); padding: .45rem 0; }
details:last-child { border-bottom: 0; }
summary { cursor: pointer; }
summary span { color: var(--muted); margin-left: .6rem; }
figure { margin: 0; }
figure img { display: block; width: 100%; height: auto; border-radius: .4rem; }
figcaption { font-size: .88rem; margin-top: .6rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--muted); font-size: 12px; font-family: inherit; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .curve { fill: none; stroke: var(--accent); stroke-width: 2.5; stroke-linejoin: round; }
svg .mark { fill: var(--accent); }
svg .point { fill: var(--ink); fill-opacity: .38; }
svg .strong { fill: var(--ink); font-weight: 600; stroke: var(--card); stroke-width: 5px; paint-order: stroke; }
svg .right { fill: var(--accent); }
svg .wrong { fill: var(--bad); }
svg .empty { fill: none; stroke: var(--line); }
svg text.on { fill: var(--card); font-weight: 600; }
footer { margin-top: 3rem; font-size: .88rem; color: var(--muted); }
"""

HEADERS = ("model", "kind", "accuracy", "difference from TensorFlow", "open", "first run", "per run", "memory")


def cells(tag: str, values: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(value)}</{tag}>" for value in values)


def figures_table(results: Results) -> str:
    """The table of the terminal, as HTML."""
    rows = [f"<tr>{cells('td', [m.name, m.kind, *m.figures()])}</tr>" for m in results.models.values()]
    voted = ["vote of the five", "", f"{results.vote_accuracy:.2%}", "equal", "", "", "", ""]
    rows.append(f'<tr class="vote">{cells("td", voted)}</tr>')
    return f"<table><thead><tr>{cells('th', HEADERS)}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def tiles(results: Results) -> str:
    """The figures to see first."""
    best = max(results.classifiers, key=lambda model: model.accuracy or 0.0)
    shown = {
        "models in one process": str(len(results.models)),
        "to open them all": duration(results.opening),
        "largest difference from TensorFlow": f"{results.difference:.1e}",
        f"best accuracy ({best.name})": f"{best.accuracy:.1%}",
    }
    if results.grown is not None:
        shown["the process grew by"] = size(results.grown)
    body = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in shown.items())
    return f'<dl class="tiles">{body}</dl>'


def opened(results: Results) -> str:
    """Each model's own summary, folded."""
    return "".join(
        f"<details><summary><code>{escape(model.path)}</code><span>{escape(model.kind)}</span></summary>"
        f"<pre>{escape(model.summary)}</pre></details>"
        for model in results.models.values()
    )


def polynomial(coefficients: list[float]) -> str:
    """The cubic as it is written by hand, in HTML."""
    text = ""
    for value, power in zip(coefficients, (" x³", " x²", " x", ""), strict=True):
        between = " + " if text else ""
        text += (between if value >= 0 else between.replace("+", "&minus;") or "&minus;") + f"{abs(value):.4f}{power}"
    return text


def write_report(path: Path, results: Results, digits: Digits, picture: Path) -> None:
    """Writes the report; the picture becomes part of it."""
    image = base64.b64encode(picture.read_bytes()).decode("ascii")
    curve = results.curve
    rms = float(np.sqrt(np.mean((results.models["cubic"].output - curve.y) ** 2)))
    best: Any = max(results.classifiers, key=lambda model: model.accuracy or 0.0)
    path.write_text(
        f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>graphrack demo</title>
<style>{STYLE}</style>
</head>
<body><main>
<h1>{len(results.models)} TensorFlow models in one process, without TensorFlow</h1>
<p>TensorFlow {escape(results.made_with)} trained and saved these models; graphrack {escape(results.graphrack)} opened
them side by side. Most of them use the same names for their variables, <code>Variable</code>,
<code>Variable_1</code> and so on, and one was saved for a GPU.</p>
{tiles(results)}

<h2>What each model gave</h2>
<p>On {len(digits)} handwritten digits that none has seen (the cubic: on the lengths of 150 petals). Outputs were
compared number by number with those that TensorFlow computes from the same files; accuracies are equal to its. A run
takes all {len(digits)} images.</p>
<div class="card scroll">{figures_table(results)}</div>
<p class="muted">Opening maps the weights and reads none; the first run makes the plan and brings the values. Memory is
what the model's variables and plans take.</p>

<h2>What was opened</h2>
<div class="card">{opened(results)}</div>

<h2>The digits, and what the models say</h2>
<figure class="card"><img alt="Handwritten digits with the answers of three models and of the vote of five"
src="data:image/png;base64,{image}"></figure>

<h2>Where they go wrong, and how they learned</h2>
<div class="pair">
<figure class="card">{confusion(best.answers(), digits.labels)}
<figcaption>The best model, <code>{escape(best.name)}</code>: digits shown (rows) and digits answered
(columns).</figcaption></figure>
<figure class="card">{steps_chart(results.steps)}
<figcaption><code>digits_conv</code>, restored one after the other from each checkpoint that was kept while it trained:
accuracy on the held-back digits.</figcaption></figure>
</div>

<h2>The cubic regression</h2>
<figure class="card">{cubic_chart(curve)}
<figcaption>Width of an iris's petal from its length, in cm, for 150 irises: y = {polynomial(curve.coefficients)},
root mean square error {rms:.3f} cm. Far outside the data a cubic is of no use: at 50 cm it says
{curve.at_50:,.1f} cm, as it does in TensorFlow.</figcaption></figure>

<footer>{escape(results.conclusion())}</footer>
</main></body>
</html>
""",
        encoding="utf-8",
    )
