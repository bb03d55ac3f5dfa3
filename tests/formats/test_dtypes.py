"""TensorFlow's types by number and by NumPy's dtypes."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import ml_dtypes, numpy as np
from graphrack.formats import dtypes
assert dtypes.from_numpy(np.dtype(getattr(ml_dtypes, {name!r}))).name == {name!r}
assert dtypes.from_numpy(np.dtype(">f4")) is dtypes.FLOAT
"""


def test_types_that_numpy_lacks_are_known_whichever_is_asked_for_first() -> None:
    # Of these some have the kind of NumPy's own floats, some have not.
    for name in ("bfloat16", "float8_e5m2", "int4"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(name=name)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
