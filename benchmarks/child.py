"""One side of one case, in a process of its own: `python -m benchmarks.child SIDE CASE WORK ARGUMENT…`."""

from __future__ import annotations

import importlib
import sys

if __name__ == "__main__":
    side, case, work, *arguments = sys.argv[1:]
    # The process's start counts in some cases: nothing is imported here that the side doesn't need.
    getattr(importlib.import_module(f"benchmarks.by_{side}"), case)(work, *arguments)
