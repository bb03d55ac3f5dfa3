"""Writes `src/graphrack/ops/unicode_scripts.bin.z`: the script of every code point, as UnicodeScript gives it.

    python tools/make_scripts_table.py

Needs TensorFlow. The file holds, compressed, the first code point of each run of one script (as differences, uint32,
lowest byte first) and then each run's script (uint8): the numbers of ICU's `UScriptCode`.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import tensorflow as tf

TABLE = Path(__file__).parents[1] / "src" / "graphrack" / "ops" / "unicode_scripts.bin.z"
CODE_POINTS = 0x110000


def table() -> bytes:
    """The file's content."""
    scripts = tf.strings.unicode_script(np.arange(CODE_POINTS, dtype=np.int32)).numpy()
    starts = np.flatnonzero(np.diff(scripts, prepend=-1))
    gaps = np.diff(starts, prepend=0).astype("<u4")
    return zlib.compress(gaps.tobytes() + scripts[starts].astype(np.uint8).tobytes(), 9)


if __name__ == "__main__":
    TABLE.write_bytes(table())
    print(f"{TABLE}: {TABLE.stat().st_size} bytes")
