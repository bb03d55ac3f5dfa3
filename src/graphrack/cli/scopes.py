"""A tree of the scopes that names make: `a/b/c` lies in `a/b`, which lies in `a`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

Facts = dict[str, Any]

MAX_DEPTH = 100


class Item(NamedTuple):
    """A node or a tensor: its name, and what it weighs.

    Attributes:
        shown: it stands in the tree even without children.
        constant: it makes no scope of the node that it is an argument of (`Sum/axis` of `Sum`).
    """

    name: str
    parameters: int
    bytes: int
    shown: bool
    constant: bool = False


def scope_tree(name: str, items: Iterable[Item], depth: int) -> Facts:
    """The scopes down to `depth` levels, in the order in which they first appear.

    A node with nothing below it but constants is no scope.

    Each has `name`, `nodes` (how many items lie in it or are called like it), `parameters`, `bytes` and
    `children`.
    """
    items = list(items)
    own = {item.name for item in items if not item.constant}
    root = _scope(name)
    places: dict[str, Facts] = {}
    shown: set[str] = set()
    for item in items:
        _count(root, item)
        parent, path = root, ""
        parts = item.name.split("/")
        for level, part in enumerate(parts[:depth]):
            path = f"{path}/{part}" if level else part
            place = places.get(path)
            if place is None:
                place = places[path] = _scope(part)
                parent["children"].append(place)
            if item.shown if level == len(parts) - 1 else not item.constant or path not in own:
                shown.add(path)
            _count(place, item)
            parent = place
    hidden = {id(place) for path, place in places.items() if path not in shown}
    for place in (root, *places.values()):
        place["children"] = [child for child in place["children"] if id(child) not in hidden]
    return root


def _scope(name: str) -> Facts:
    return {"name": name, "nodes": 0, "parameters": 0, "bytes": 0, "children": []}


def _count(scope: Facts, item: Item) -> None:
    scope["nodes"] += 1
    scope["parameters"] += item.parameters
    scope["bytes"] += item.bytes
