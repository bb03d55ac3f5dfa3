"""What callers fetch: any nesting of names, flattened for a plan and put together again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from graphrack.errors import UnknownName, closest
from graphrack.graph.index import GraphIndex
from graphrack.graph.names import TensorName

Fetch = TensorName | str
Pack = Callable[[Sequence[Any]], Any]


def key(fetches: Any) -> Hashable:
    """Something hashable that is equal for equal fetches."""
    if isinstance(fetches, str):
        return fetches
    if isinstance(fetches, Mapping):
        return (type(fetches), tuple((k, key(v)) for k, v in fetches.items()))
    if isinstance(fetches, (list, tuple)) and not _has_name(fetches):
        return (type(fetches), tuple(key(f) for f in fetches))
    return name_of(fetches)


def flatten(index: GraphIndex, fetches: Any) -> tuple[list[Fetch], Pack]:
    """The tensors and operations that fetches name, and what puts their values into the same nesting.

    An operation's bare name means its output where it has one, a tuple of them where it has several,
    and None where it has none.

    Raises:
        UnknownName: a name that the graph doesn't have.
        TypeError: something that is no name and no list, tuple or dict of names.
    """
    flat: list[Fetch] = []

    def walk(item: Any) -> Pack:
        if isinstance(item, Mapping):
            packs = {k: walk(v) for k, v in item.items()}
            return lambda values: {k: pack(values) for k, pack in packs.items()}
        if isinstance(item, (list, tuple)) and not _has_name(item):
            parts = [walk(v) for v in item]
            if hasattr(item, "_fields"):
                kind: Any = type(item)
                return lambda values: kind(*[pack(values) for pack in parts])
            sequence: Any = list if isinstance(item, list) else tuple
            return lambda values: sequence(pack(values) for pack in parts)
        return leaf(name_of(item))

    def leaf(name: str) -> Pack:
        start = len(flat)
        if ":" in name:
            flat.append(index.tensor(name))
            return lambda values: values[start]
        node = index.nodes.get(name)
        if node is None:
            raise UnknownName(f"the graph has no operation or tensor {name!r}{closest(name, index.nodes)}")
        count = index.output_count(node)
        if count == 0:
            flat.append(name)
            return lambda values: values[start]
        if count is None or count == 1:
            flat.append(TensorName(name, 0))
            return lambda values: values[start]
        flat.extend(TensorName(name, i) for i in range(count))
        return lambda values: tuple(values[start : start + count])

    return flat, walk(fetches)


def name_of(item: Any) -> str:
    """The name that a fetch or feed means: a string, or what has one (a TensorSpec, a TensorFlow tensor)."""
    if isinstance(item, str):
        return item
    name = getattr(item, "name", None)
    if not isinstance(name, str):
        raise TypeError(
            f"expected a tensor's or operation's name, as 'x:0', or lists, tuples and dicts of them; found {item!r}"
        )
    return name


def _has_name(item: Any) -> bool:
    return isinstance(getattr(item, "name", None), str)
