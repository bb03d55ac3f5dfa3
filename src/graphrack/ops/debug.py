"""The time of day."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from graphrack.ops.registry import op


@op("Timestamp", impure=True)
def Timestamp() -> Any:
    """Seconds since 1970, float64."""
    return np.float64(time.time())
