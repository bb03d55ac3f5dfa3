"""Where the shipped files are that TensorFlow wrote, and what is in them (`fixtures/make.py` made both)."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

FIXTURES = Path(__file__).resolve().parent / "fixtures"
MODELS = Path(__file__).resolve().parents[1] / "examples" / "models"


@lru_cache(maxsize=1)
def expected() -> dict[str, Any]:
    """`expected.json`: `checkpoints` by path, `runs` as a list."""
    found: dict[str, Any] = json.loads((FIXTURES / "expected.json").read_text())
    return found


def array(entry: dict[str, Any]) -> np.ndarray[Any, Any]:
    """A value of `expected.json`: numbers as float64, int64 or complex128, strings as objects of bytes."""
    values: list[Any] = entry["values"]
    if entry["dtype"] == "string":
        found = np.empty(len(values), object)
        found[:] = [text.encode("latin-1") for text in values]
    elif entry["dtype"].startswith("complex"):
        found = np.array([complex(*pair) for pair in values], complex)
    else:
        found = np.array(values)
    return found.reshape(entry["shape"])
