"""OpenVINO in this process: imported when first needed, set up so that any number of models get along.

Measured with a small convolutional network and with ResNet-50 on 2 cores, busy ones and idle ones:

  - Threads that OpenVINO pins to cores get half of them, or less, as soon as anything else runs there, other
    models' threads foremost (1680 runs where there are 3040 without pinning): they are not pinned.
  - Left to itself each compiled model keeps two threads of its own. With exclusive requests a run stays in the
    thread that asks for it, helped by the threads that all models share, one fewer than there are cores; that is
    also 4 µs quicker. Only what runs several samples at once has threads of its own, one for each.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

_core: Any = None
_core_lock = threading.Lock()
_forked = False

# Runs that use all cores take turns, so that no more threads are busy than there are cores. A run that lasts
# longer than this lets others begin beside it: a small model isn't to wait for the end of a large batch.
_PATIENCE_S = 0.25
_turns = threading.Lock()
_turn = threading.local()
# Runs shorter than this don't take turns: they keep one thread busy, and the next one is soon over.
_SHORT_S = 0.002


def core() -> Any:
    """OpenVINO's Core: one for the process, which holds its plugins.

    Importing OpenVINO sends a message to its makers, where `openvino_telemetry` is installed; it is kept from that.
    Its converter of other formats, half of the import's time, is left until somebody asks for it.

    Raises:
        RuntimeError: this process was forked from one that has it.
    """
    global _core
    if _forked:
        _say_once(_FORKED)
        raise RuntimeError(_FORKED)
    if _core is None:
        with _core_lock:
            if _core is None:
                with _without(_TELEMETRY, _CONVERTER):
                    import openvino

                if not hasattr(openvino, "convert_model") and not hasattr(openvino, "__getattr__"):
                    openvino.__getattr__ = _import_converter
                _core = openvino.Core()
    return _core


# What its threads held when the process was forked is held for good: compiling hangs once in ten times.
_FORKED = (
    "OpenVINO had started before this process was forked, and its threads stayed behind, so the interpreter runs "
    "everything here; fork before the first run, or start processes anew (multiprocessing's 'spawn')"
)


@cache
def _say_once(text: str) -> None:
    logging.getLogger("graphrack").warning(text)


_TELEMETRY, _CONVERTER = "openvino_telemetry", "openvino.tools.ovc"


@contextmanager
def _without(*names: str) -> Iterator[None]:
    """Meanwhile modules that aren't there yet can't be imported: OpenVINO goes without these."""
    missing = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(missing))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in missing:
            sys.modules.pop(name, None)


def _import_converter(name: str) -> Any:
    """What the module `openvino` would have had from the beginning: for others in this process, who use it, too."""
    import openvino

    if name != "convert_model":
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    with _without(_TELEMETRY):
        from openvino.tools.ovc import convert_model
    openvino.convert_model = convert_model
    return convert_model


def loaded() -> bool:
    """Whether OpenVINO has been imported, and has its Core."""
    return _core is not None


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def settings(precision: str, streams: int) -> dict[str, Any]:
    """How clusters are compiled, for a precision of `choice.PRECISIONS` and so many runs at once."""
    # OpenVINO's own choice may be bfloat16 on processors that have it, so f32 is said, too.
    has_bf16 = precision == "bf16" and "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if has_bf16 else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": str(streams),
        "ENABLE_CPU_PINNING": False,
        "EXCLUSIVE_ASYNC_REQUESTS": "YES" if streams == 1 else "NO",
    }


def processor() -> str:
    """What a compiled cluster depends on beside its own contents: OpenVINO, and the processor it was compiled on."""
    import platform

    import openvino

    properties = ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")
    found = [str(core().get_property("CPU", name)) for name in properties]
    return "\n".join((openvino.get_version(), platform.system(), platform.machine(), *found))


def take_turn(seconds: float) -> bool:
    """Waits for the turn to use all cores, for a run that takes so long; whether it is to call `end_turn`.

    Runs that are part of another one, whose turn it is, don't take one.
    """
    if seconds <= _SHORT_S or getattr(_turn, "taken", False):
        return False
    _turn.taken = _turns.acquire(timeout=_PATIENCE_S)
    return bool(_turn.taken)


def end_turn() -> None:
    """Lets the next run have its turn."""
    _turn.taken = False
    _turns.release()


def _after_fork() -> None:
    global _turns, _turn, _core_lock, _forked
    _turns, _turn, _core_lock = threading.Lock(), threading.local(), threading.Lock()
    if _core is not None:
        leave_behind(_core)
    _forked = _forked or _core is not None


def leave_behind(thing: Any) -> None:
    """Has a thing of OpenVINO's outlive this process, one that was forked.

    Its end would wait for threads that stayed behind in the parent: for good, or until the process is aborted.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
