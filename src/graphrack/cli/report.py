"""What `inspect` found, for people: headings, tables and a tree."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from graphrack._display import shape as shape_text
from graphrack._display import size as size_text
from graphrack.cli.checkpoint_facts import Facts
from graphrack.cli.output import indented, plain, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.tree import Tree

_MOST = 12
_MOST_NAMES = 4


def show_facts(facts: Facts, *, all_ops: bool, all_variables: bool) -> None:
    """Prints what is known of a path."""
    most = None if all_variables else _MOST
    parts: list[RenderableType] = [*_head(facts)]
    if facts["folder"] is not None:
        parts += _folder(facts["folder"])
    if facts["meta_graphs"] is not None and facts["graph"] is None:
        parts += _meta_graphs(facts["meta_graphs"])
    graph = facts["graph"]
    if graph is not None:
        parts += _interface(graph)
        parts += _variables(graph, most)
        parts += _ops(graph, None if all_ops else _MOST)
        parts += _functions(graph["functions"])
    if facts["checkpoint"] is not None and (graph is None or all_variables):
        parts += _tensors(facts["checkpoint"], most)
    if facts["tree"] is not None:
        parts += [*_heading("Scopes"), _tree(facts["tree"])]
    show(*parts)


def _head(facts: Facts) -> Iterable[RenderableType]:
    from rich.text import Text

    yield Text(plain(facts["path"]), "bold")
    yield indented(Text(plain(facts["what"])))
    rows = table("", "")
    graph, checkpoint = facts["graph"], facts["checkpoint"]
    if graph is not None:
        version = graph["tensorflow_version"]
        rows.add_row("graph", plain(f"{graph['file']} ({graph['format']}, {size_text(graph['bytes'])})"))
        wrote = f"TensorFlow {plain(version)}, " if version else ""
        rows.add_row("written by", f"{wrote}GraphDef producer {graph['producer']}")
        if graph["tags"]:
            rows.add_row("tags", plain(", ".join(graph["tags"])))
        lacks = len(graph["missing_ops"])
        found = f"{graph['nodes']:,} nodes of {_count(len(graph['ops']), 'op')}; graphrack "
        has = "has them all" if not lacks else f"lacks {lacks}"
        rows.add_row("made of", Text.assemble(found, (has, "yellow" if lacks else "green")))
    if checkpoint is not None:
        rows.add_row("values", plain(checkpoint["prefix"]))
        files = _count(len(checkpoint["files"]), "file")
        tensors = _count(len(checkpoint["tensors"]), "tensor")
        rows.add_row("", f"V{checkpoint['version']}, {tensors}, {size_text(checkpoint['bytes'])} in {files}")
    for problem in dict.fromkeys([*facts["problems"], *([checkpoint["problem"]] if checkpoint else [])]):
        if problem:
            rows.add_row(Text("problem", "red"), plain(problem))
    if facts["hint"]:
        rows.add_row(Text("hint", "cyan"), plain(facts["hint"]))
    if rows.row_count:
        yield rows


def _heading(title: str, note: str = "") -> Iterable[RenderableType]:
    from rich.text import Text

    yield ""
    yield Text.assemble((title, "bold"), (f"  {note}" if note else "", "dim"))


def _more(count: int, option: str = "") -> Iterable[RenderableType]:
    from rich.text import Text

    if count > 0:
        yield Text(f"  … and {count:,} more" + (f": {option}" if option else ""), "dim")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _size(value: int | None) -> str:
    return "" if value is None else size_text(value)


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _folder(folder: Facts) -> Iterable[RenderableType]:
    state = "in the order of the state file" if folder["state_file"] else "no state file"
    yield from _heading(f"Checkpoints ({len(folder['checkpoints'])})", state)
    rows = table("", "")
    for checkpoint in folder["checkpoints"]:
        notes = [
            *(["latest"] if checkpoint["prefix"] == folder["latest"] else []),
            *([] if checkpoint["has_graph"] else ["without a graph"]),
            *([] if checkpoint["listed"] or not folder["state_file"] else ["not in the state file"]),
        ]
        rows.add_row(plain(os.path.basename(checkpoint["prefix"])), ", ".join(notes))
    for path in folder["missing"]:
        rows.add_row(plain(os.path.basename(path)), "in the state file, but not there")
    yield rows


def _meta_graphs(meta_graphs: list[Facts]) -> Iterable[RenderableType]:
    yield from _heading(f"MetaGraphs ({len(meta_graphs)})")
    rows = table("tags", "nodes", "signatures", right=("nodes",))
    for meta in meta_graphs:
        names = ", ".join(s["name"] for s in meta["signatures"])
        rows.add_row(plain(", ".join(meta["tags"]) or "(none)"), f"{meta['nodes']:,}", plain(names))
    yield rows


def _interface(graph: Facts) -> Iterable[RenderableType]:
    yield from _specs("Inputs", graph["inputs"])
    several = len(graph["outputs"]) > 1 and not _default(graph["signatures"])
    yield from _specs("Outputs", graph["outputs"], "a call could mean each of them" if several else "")
    if graph["signatures"]:
        yield from _heading(f"Signatures ({len(graph['signatures'])})")
        rows = table("", "", "")
        for signature in graph["signatures"]:
            for i, (side, specs) in enumerate((("takes", signature["inputs"]), ("gives", signature["outputs"]))):
                what = "; ".join(f"{spec['key']} {spec['dtype']} {_shape(spec)}" for spec in specs)
                rows.add_row(plain(signature["name"]) if i == 0 else "", side, plain(what) or "nothing")
        yield rows
    if graph["collections"]:
        yield from _heading(f"Collections ({len(graph['collections'])})")
        rows = table("", "")
        for name, items in graph["collections"].items():
            shown = ", ".join(plain(_item(item)) for item in items[:_MOST_NAMES])
            more = f" … {len(items)} in all" if len(items) > _MOST_NAMES else ""
            rows.add_row(plain(name), shown + more)
        yield rows
    if graph["assets"]:
        yield from _heading(f"Assets ({len(graph['assets'])})")
        rows = table("", "")
        for name, path in graph["assets"].items():
            rows.add_row(plain(name), plain(path))
        yield rows


def _default(signatures: list[Facts]) -> bool:
    return len(signatures) == 1 or any(s["name"] == "serving_default" for s in signatures)


def _item(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    if "name" in item:
        return str(item["name"])
    return f"<{size_text(item['bytes'])}>" if "bytes" in item else f"<{item['type'].rpartition('/')[2]}>"


def _shape(spec: Facts) -> str:
    return shape_text(None if spec["shape"] is None else tuple(spec["shape"]))


def _specs(title: str, specs: list[Facts], note: str = "") -> Iterable[RenderableType]:
    yield from _heading(title if specs else f"{title}: none", note)
    rows = table("", "", "", "")
    for spec in specs[:_MOST]:
        own = spec["name"] in (spec["key"], f"{spec['key']}:0")
        rows.add_row(plain(spec["key"]), spec["dtype"], _shape(spec), "" if own else plain(spec["name"]))
    if specs:
        yield rows
    yield from _more(len(specs) - _MOST, "--json has all")


def _variables(graph: Facts, most: int | None) -> Iterable[RenderableType]:
    variables, totals, constants = graph["variables"], graph["totals"], graph["constants"]
    if not variables:
        held = f"{_count(constants['count'], 'constant')} of {constants['elements']:,} elements"
        yield from _heading("Variables: none", f"{held}, {size_text(constants['bytes'])}")
        return
    note = _count(totals["parameters"], "parameter")
    if any(v["trainable"] for v in variables):
        note += f", {totals['trainable_parameters']:,} of them trainable"
    yield from _heading(f"Variables ({len(variables)})", f"{note}, {size_text(totals['bytes'])}")
    rows = table("name", "dtype", "shape", "parameters", "size", "", right=("parameters", "size"))
    for v in variables[:most]:
        trainable = "trainable" if v["trainable"] else ""
        rows.add_row(plain(v["name"]), v["dtype"], _shape(v), _number(v["parameters"]), _size(v["bytes"]), trainable)
    yield rows
    yield from _more(len(variables) - len(variables[:most]), "--variables")


def _tensors(checkpoint: Facts, most: int | None) -> Iterable[RenderableType]:
    tensors = checkpoint["tensors"]
    size = size_text(sum(t["bytes"] or 0 for t in tensors))
    yield from _heading(f"Tensors ({len(tensors)})", f"{_count(checkpoint['parameters'], 'parameter')}, {size}")
    rows = table("name", "dtype", "shape", "elements", "size", "", right=("elements", "size"))
    for t in tensors[:most]:
        slices = f"in {t['slices']} slices" if t["slices"] else ""
        rows.add_row(plain(t["name"]), t["dtype"], _shape(t), _number(t["parameters"]), _size(t["bytes"]), slices)
    yield rows
    yield from _more(len(tensors) - len(tensors[:most]), "--variables")


def _ops(graph: Facts, most: int | None) -> Iterable[RenderableType]:
    from rich.text import Text

    missing = graph["missing_ops"]
    yield from _heading(f"Ops ({len(graph['ops'])})")
    shown = list(graph["ops"].items())[:most]
    text = Text()
    for i, (op, count) in enumerate(shown):
        text.append("  " if i else "")
        text.append(plain(op), "yellow" if op in missing else "")
        text.append(f"\u00a0{count:,}", "dim")
    yield indented(text)
    yield from _more(len(graph["ops"]) - len(shown), "--ops")
    if missing:
        names = ", ".join(f"{plain(op)} ({count})" for op, count in missing.items())
        yield indented(Text(f"graphrack lacks {_count(len(missing), 'op')}: {names}", "yellow"))
        yield indented(Text("What doesn't need these can be run.", "dim"))


def _functions(functions: list[Facts]) -> Iterable[RenderableType]:
    if not functions:
        return
    yield from _heading(f"Functions ({len(functions)})")
    rows = table("name", "inputs", "outputs", "nodes", right=("inputs", "outputs", "nodes"))
    for f in functions[:_MOST]:
        rows.add_row(plain(f["name"]), str(f["inputs"]), str(f["outputs"]), f"{f['nodes']:,}")
    yield rows
    yield from _more(len(functions) - _MOST, "--json has all")


def _tree(scope: Facts) -> Tree:
    from rich.tree import Tree

    made = Tree(_label(scope))
    stack = [(scope, made)]
    while stack:
        parent, branch = stack.pop()
        for child in parent["children"]:
            stack.append((child, branch.add(_label(child))))
    return made


def _label(scope: Facts) -> Any:
    from rich.text import Text

    weight = f", {_count(scope['parameters'], 'parameter')}, {size_text(scope['bytes'])}" if scope["parameters"] else ""
    return Text.assemble(plain(scope["name"]) or "(empty)", (f"  {_count(scope['nodes'], 'node')}{weight}", "dim"))
