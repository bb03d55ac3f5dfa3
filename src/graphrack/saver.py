"""`Saver`: checkpoints of a model, of arrays or of a live session, of which the newest or the best are kept."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from graphrack.checkpoint import save_checkpoint
from graphrack.errors import UnknownName, UnsupportedSource, closest
from graphrack.formats.safe_write import atomic_write
from graphrack.model import Model
from graphrack.rotation import Rotation
from graphrack.saving import Names, meta_graph, meta_graph_of, named, numbered, save_values, whole_or_nothing
from graphrack.session import is_session, save_session


class Saver:
    """Saves checkpoints as TensorFlow's Saver does, and keeps the newest of them, or the best.

    One Saver has one list of the checkpoints that it keeps, for one thing that is saved: models that are to be kept
    independently of each other want a Saver each. In a new process a Saver goes on with the list that the folder's
    state file holds under the same base name. Checkpoints of other names in the folder are never touched.

    Args:
        max_to_keep: so many checkpoints are kept; 0 or None: all, and then the state file lists the newest alone.
        keep_checkpoint_every_n_hours: of those that would be removed, one is kept for good every so many hours.
        names: what to save: variables' names (of a mapping, its keys), or saved name to variable name. A partitioned
            variable goes by the name of the whole. None: everything; of a model what its own Saver saves.
        best: "max" or "min": the best by `metric` are kept, instead of the newest. The metrics are remembered in
            `PREFIX.metrics.json`. Not-a-number is worse than any number; of equals the older is better.
        save_relative_paths: the state file has relative paths even of a folder whose path is absolute, so that the
            folder can be moved. It has them, too, where it had before.

    Raises:
        ValueError: an argument that means nothing.

    Example:
        >>> saver = gr.Saver(max_to_keep=3)
        >>> saver.save(model, "models/model_name", global_step=1000)
        'models/model_name-1000'
    """

    def __init__(
        self,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10_000,
        names: Names = None,
        best: str | None = None,
        *,
        save_relative_paths: bool = False,
    ):
        if max_to_keep is not None and max_to_keep < 0:
            raise ValueError(f"max_to_keep is {max_to_keep}; give how many checkpoints to keep, 0 or None for all")
        if not keep_checkpoint_every_n_hours >= 0:
            raise ValueError(f"keep_checkpoint_every_n_hours is {keep_checkpoint_every_n_hours}; give hours, as 0.5")
        if best not in (None, "max", "min"):
            raise ValueError(f"best is {best!r}; give 'max' or 'min', or leave it out to keep the newest")
        if isinstance(names, (str, bytes)):
            raise ValueError(f"names is {names!r}; give a list of names, as [{names!r}], or saved to variable names")
        if names is not None and not names:
            raise ValueError("names is empty: it chooses the variables to save; leave it out to save all")
        self.max_to_keep = max_to_keep or 0
        self.keep_checkpoint_every_n_hours = float(keep_checkpoint_every_n_hours)
        self.names: Names = dict(names) if isinstance(names, Mapping) else None if names is None else list(names)
        self.best = best
        self._rotation = Rotation(self.max_to_keep, self.keep_checkpoint_every_n_hours, best, save_relative_paths)
        self._lock = threading.Lock()

    @property
    def last_checkpoints(self) -> list[str]:
        """The checkpoints that are kept and listed, oldest first; empty before the first save, or if all are kept."""
        return [kept.path for kept in self._rotation.kept]

    def save(
        self, source: Any, prefix: str | os.PathLike[str], global_step: Any = None, metric: float | None = None
    ) -> str:
        """Saves, makes it the folder's latest checkpoint, and removes those that are not to be kept any more.

        Whenever the process is killed, the folder's latest checkpoint is the old one or the new one, whole. All values
        of a model are those of one moment, whatever other threads run meanwhile.

        Args:
            source: a Model; a mapping of arrays (NumPy's, or whatever has `__array__` or DLPack; a Checkpoint); or a
                live `tf.compat.v1.Session`, whose graph's variables are saved. Of models and sessions the graph is
                written as well (`prefix.meta`), with what TensorFlow needs to restore it.
            prefix: as "models/model_name"; the folder is made where it is missing.
            global_step: an integer, which is appended: `models/model_name-1000`; or the name of a model's or session's
                tensor that holds it, or a session's tensor.
            metric: how good it is, for `best`.

        Returns:
            the checkpoint's prefix. With `best`, one that is not among the best is not written; whether it was is
            what `saver.last_checkpoints` says.

        Raises:
            FileError: the folder can't be written to, or the disk is full; all that was there is intact.
            UnsupportedSource: the source is none of these.
            UninitializedError: variables have no values.
            UnknownName: `names` has one that the source doesn't.
            ValueError: a metric where none is wanted, none where one is, or a step that is no integer.
        """
        base = os.fspath(prefix)
        if not isinstance(base, str):
            base = os.fsdecode(base)
        value = self._metric(metric)
        write = self._writer(source)
        path = numbered(base, _step(source, global_step))
        with self._lock:
            if value is not None and not self._rotation.accepts(path, base, value):
                return path
            with whole_or_nothing(path):
                write(path)
                dropped = self._rotation.record(path, base, value)
            self._rotation.remove(dropped)
        return path

    def _metric(self, metric: float | None) -> float | None:
        if self.best is None:
            if metric is not None:
                raise ValueError(f"metric is {metric!r}, but this Saver keeps the newest: make it with best='max'")
            return None
        try:
            return float(metric)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise ValueError(
                f"metric is {metric!r}; a Saver that keeps the best ({self.best!r}) needs a number for each checkpoint"
            ) from None

    def _writer(self, source: Any) -> Callable[[str], None]:
        """What writes values, and the graph where there is one, under a prefix."""
        if isinstance(source, Model):
            return lambda path: self._save_model(source, path)
        if is_session(source):
            return lambda path: save_session(
                source, path, self.names, self.max_to_keep, self.keep_checkpoint_every_n_hours
            )
        if isinstance(source, Mapping):
            arrays = _chosen(source, self.names)

            def write(path: str) -> None:
                save_checkpoint(path, arrays)

            return write
        raise UnsupportedSource(
            f"a {type(source).__name__} can't be saved; give a Model, a mapping from names to arrays, or a live "
            f"tf.compat.v1.Session"
        )

    def _save_model(self, model: Model, path: str) -> None:
        instance = model._instance
        with model._naming():
            instance.prepare()
            save_values(instance, path, self.names)
            graph = meta_graph(instance) if self.names is None else meta_graph_of(instance, named(instance, self.names))
        if graph.saver_def.restore_op_name:  # a graph without variables has no Saver
            graph.saver_def.max_to_keep = self.max_to_keep
            graph.saver_def.keep_checkpoint_every_n_hours = min(self.keep_checkpoint_every_n_hours, 3.4e38)
        atomic_write(path + ".meta", graph.SerializeToString())


def _step(source: Any, global_step: Any) -> Any:
    """The step as a number, where a tensor that holds it is given."""
    if isinstance(global_step, str):
        if not hasattr(source, "run"):
            raise ValueError(f"global_step is {global_step!r}; expected an integer, as 1000")
        return source.run(global_step if ":" in global_step else f"{global_step}:0")
    if is_session(source) and hasattr(global_step, "graph"):
        return source.run(global_step)
    return global_step


def _chosen(source: Mapping[str, Any], names: Names) -> Mapping[str, Any]:
    if names is None:
        return source
    pairs = names if isinstance(names, Mapping) else {name: name for name in names}
    for name in pairs.values():
        if name not in source:
            raise UnknownName(f"names has {name!r}, which is not among the arrays to save{closest(name, source)}")
    return {saved: source[name] for saved, name in pairs.items()}
