"""Which variable gets which tensor of a checkpoint: for models and for live sessions alike."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from graphrack.checkpoint import Checkpoint
from graphrack.errors import RestoreError, UnknownName, closest
from graphrack.formats.tensor_slices import parse_shape_and_slice
from graphrack.graph.index import Variable
from graphrack.graph.saver import Restored
from graphrack.ops.state import compatible, show

Select = str | Collection[str] | Callable[[str], bool] | None


class Wanted(NamedTuple):
    """One variable to restore: from which name, and by which of the graph's nodes (None: by none)."""

    variable: Variable
    source: str
    by: Restored | None


def match(
    variables: Mapping[str, Variable],
    restored: Iterable[Restored],
    checkpoint: Checkpoint,
    select: Select,
    scope: str | None,
    rename: Mapping[str, str] | None,
    strict: bool,
) -> list[Wanted]:
    """The variables to restore that the checkpoint has; `Model.restore` explains `select` and the rest.

    Args:
        variables: all that the graph has, by name.
        restored: what a Saver of the graph restores, and under which names.
        checkpoint: where the values are to come from; none is read.
        select: as in `Model.restore`, and so are the others.
        scope: see there.
        rename: see there.
        strict: see there.

    Raises:
        RestoreError: where strict, naming every variable that doesn't fit.
        UnknownName: `select`, `scope` or `rename` name what isn't there.
    """
    wanted = _wanted(variables, restored, select, scope, rename)
    if select is None or isinstance(select, str) or callable(select):
        wanted = [item for item in wanted if not _left_out(item, checkpoint)]
    problems: list[str] = []
    fitting: list[Wanted] = []
    for item in wanted:
        problem = _problem(item, checkpoint)
        if problem is None:
            fitting.append(item)
        else:
            problems.append(problem)
    if problems and strict:
        raise RestoreError(
            f"checkpoint {checkpoint.prefix!r} doesn't fit {len(problems)} of {len(wanted)} variables: "
            f"{'; '.join(problems)}; nothing was restored: select=, scope= and rename= choose and map variables, "
            "strict=False leaves out what doesn't fit"
        )
    return fitting


def _wanted(
    variables: Mapping[str, Variable],
    restored: Iterable[Restored],
    select: Select,
    scope: str | None,
    rename: Mapping[str, str] | None,
) -> list[Wanted]:
    """The variables to restore, each with the checkpoint's name for it."""
    by_variable: dict[str, list[Restored]] = {}
    for entry in restored:
        by_variable.setdefault(entry.variable.name, []).append(entry)
    chosen = _selected(variables, select)
    if select is None and by_variable:
        # What the graph's own Saver leaves out (slots of another optimizer, say) stays as it is.
        chosen = [name for name in chosen if name in by_variable]
    new_names = {target: source for source, target in (rename or {}).items()}
    keys = {e.key for entries in by_variable.values() for e in entries}
    unknown = [target for target in new_names if target not in variables and target not in keys]
    if unknown:
        raise UnknownName(
            f"rename gives checkpoint names to variable names; the model has no variable {unknown[0]!r}"
            f"{closest(unknown[0], variables)}"
        )
    prefix = f"{scope.rstrip('/')}/" if scope else ""
    found = []
    for name in chosen:
        if not name.startswith(prefix):
            continue
        nodes: list[Restored | None] = [*by_variable.get(name, ())]
        for by in nodes or [None]:
            key = by.key if by is not None else name
            source = new_names.get(name) or new_names.get(key) or key.removeprefix(prefix)
            found.append(Wanted(variables[name], source, by))
    if not found and (scope or select is not None):
        what = f"scope={scope!r}" if scope else f"select={select!r}"
        raise UnknownName(f"{what} chooses none of the model's variables{closest(scope or str(select), variables)}")
    return found


def _selected(variables: Mapping[str, Variable], select: Select) -> list[str]:
    if select is None:
        return list(variables)
    if callable(select):
        return [name for name in variables if select(name)]
    if isinstance(select, str):
        return [name for name in variables if fnmatch.fnmatchcase(name, select)]
    for name in select:
        if name not in variables:
            raise UnknownName(f"select names {name!r}, which is no variable of the model{closest(name, variables)}")
    chosen = set(select)
    return [name for name in variables if name in chosen]


def _left_out(item: Wanted, checkpoint: Checkpoint) -> bool:
    """Whether a variable is an average that the view `averages()` has put in its variable's place.

    It keeps its own value then, as TensorFlow's `variables_to_restore` has it.
    """
    ending = checkpoint.average_suffix
    if ending is None or not item.source.endswith(ending):
        return False
    return item.source not in checkpoint and item.source.removesuffix(ending) in checkpoint


def _problem(item: Wanted, checkpoint: Checkpoint) -> str | None:
    """Why a variable can't be restored; None where it can."""
    variable, source = item.variable, item.source
    what = f"{variable.name!r}" + (f" (as {source!r})" if source != variable.name else "")
    if source not in checkpoint:
        return f"{what} is not in it{closest(source, checkpoint, 3)}"
    spec = checkpoint.spec(source)
    if spec.dtype != variable.dtype:
        return f"{what} is {spec.dtype} there, {variable.dtype} in the model"
    expected = variable.shape
    if item.by is not None and item.by.spec:
        expected = parse_shape_and_slice(item.by.spec)[0]
    shape = spec.shape or ()
    known = expected is not None and None not in expected
    # A Saver made with reshape=True restores any shape of as many elements.
    if not compatible(tuple(s or 0 for s in shape), expected) and not (
        item.by is not None and not item.by.spec and known and _reshapes(item, shape)
    ):
        return f"{what} has shape {show(shape)} there, {show(expected)} in the model"
    return None


def _reshapes(item: Wanted, shape: tuple[int | None, ...]) -> bool:
    return (
        item.by is not None
        and item.by.reshaped
        and math.prod(s or 0 for s in shape) == math.prod(s or 0 for s in item.variable.shape or ())
    )
