"""In this run nothing can import TensorFlow, nor what comes with it."""

from __future__ import annotations

import importlib.abc
import sys
from collections.abc import Sequence
from typing import Any

BLOCKED = ("tensorflow", "tensorflow_cpu", "keras", "tf_keras", "h5py", "tensorboard", "jax", "torch")


class Blocker(importlib.abc.MetaPathFinder):
    """Finds nothing, and says so loudly, where a blocked package is asked for."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        if fullname.partition(".")[0] in BLOCKED:
            raise ImportError(f"{fullname} was imported where there is no TensorFlow", name=fullname)


assert not {name.partition(".")[0] for name in sys.modules} & set(BLOCKED), "imported before it could be blocked"
sys.meta_path.insert(0, Blocker())
