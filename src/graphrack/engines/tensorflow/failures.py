"""TensorFlow's errors as ours: one line that names the node, what failed and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from graphrack.engines.interpreter.plan import uninitialized
from graphrack.errors import FeedError, GraphrackError, OpError, UninitializedError

_NODE = re.compile(r"\{\{node ([^}]+)\}\}")
_DEAD = re.compile(r"Retval\[(\d+)\] does not have (?:a )?value")
# What a message may begin with, before it comes to the point; and lines of stack traces.
_IDLE = re.compile(r"Detected at node|<stack traces|Graph execution|File |Node: |\d+ root error|\d+ derived errors")
_STATUS = re.compile(r"^\(\d+\) [A-Z_]+: ")


def first_lines(text: str) -> str:
    """What went wrong, of a message of TensorFlow's: without nodes' protos, stack traces and what comes after."""
    text = re.sub(r"\s*; NodeDef: .*", "", text, flags=re.DOTALL)
    text = re.split(r"\n\s*\[\[|\n\nOriginal stack trace|\n\nErrors may have originated", text)[0]
    lines = (line.strip() for line in text.splitlines())
    kept = [_STATUS.sub("", line) for line in lines if line and not _IDLE.match(line)]
    return " ".join(kept).rstrip(".")


class Translated:
    """A `with` block out of which come our errors.

    Attributes:
        lacking: names of variables that the run may read and that have no values.
        writes: whether the run may give them some before it reads them.
        fetched: the tensors that TensorFlow gives, in its order.
    """

    def __init__(self, tf: Any, lacking: Sequence[str], writes: bool, fetched: Sequence[Any]):
        self._tf = tf
        self._lacking = lacking
        self._writes = writes
        self._fetched = fetched

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, self._tf.errors.OpError):
            raise self._of_op(error) from None
        if isinstance(error, (ValueError, TypeError)) and not isinstance(error, GraphrackError):
            raise FeedError(f"TensorFlow doesn't take what was fed: {first_lines(str(error))}") from None

    def _of_op(self, error: Any) -> GraphrackError:
        text = first_lines(error.message)
        where = "TensorFlow failed"
        if error.op is not None:
            where = f"node {error.op.name!r} ({error.op.type}) failed in TensorFlow"
        elif named := _NODE.findall(error.message):
            where = f"node {named[-1]!r} of a function failed in TensorFlow"
        if isinstance(error, (self._tf.errors.FailedPreconditionError, self._tf.errors.NotFoundError)):
            if "able not initialized" in text:
                return UninitializedError(
                    f"{where}: its table has no entries; fill it by the graph's table initialisers with initialize()"
                )
            said = [name for name in self._lacking if re.search(rf"(?<![\w/]){re.escape(name)}(?![\w/])", text)]
            if self._lacking and re.search("variable|value", text):
                return uninitialized(said if said and self._writes else self._lacking)
        dead = _DEAD.search(text)
        if dead is not None:
            tensor = self._fetched[int(dead[1])] if int(dead[1]) < len(self._fetched) else dead[0]
            return OpError(
                f"tensor '{tensor}' has no value: it lies in a branch that was not taken; fetch what merges it"
            )
        return OpError(f"{where}: {text}")
