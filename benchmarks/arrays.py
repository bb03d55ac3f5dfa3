"""The large checkpoint's values."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.cases import LARGE_BYTES

_TENSORS = 200


def large_arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Tensors of 434 MB in all, float32: a big one, as an embedding is, and many of middling size."""
    rng = np.random.default_rng(0)
    embedding = rng.standard_normal((30522, 768), np.float32)
    rest = (LARGE_BYTES - embedding.nbytes) // 4 // (_TENSORS - 1)
    arrays = {f"layer_{i:03}/kernel": rng.standard_normal(rest, np.float32) for i in range(_TENSORS - 1)}
    return {"embedding": embedding, **arrays}
