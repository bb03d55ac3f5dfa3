"""One side of one case, in a process of its own: `python -m benchmarks.child CASE SIDE WORK`."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    case, side, work = sys.argv[1:]
    # The process's start counts in some cases: nothing is imported here that the side doesn't need.
    if side == "graphrack":
        from benchmarks import by_graphrack as sides
    elif side == "tensorflow":
        from benchmarks import by_tensorflow as sides  # type: ignore[no-redef]
    else:
        from benchmarks import by_machine as sides  # type: ignore[no-redef]
    getattr(sides, case)(work)
