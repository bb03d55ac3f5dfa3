"""What a test of ops has had TensorFlow judge: counted, so that a test whose cases TensorFlow can't build fails."""

from __future__ import annotations

from collections import Counter

_counts: Counter[str] = Counter()


def clear() -> None:
    """Starts a test."""
    _counts.clear()


def case() -> None:
    """Something was tried."""
    _counts["cases"] += 1


def value() -> None:
    """TensorFlow gave values, and they were compared."""
    _counts["values"] += 1


def refusal(message: str) -> None:
    """TensorFlow refused to run something, and so did graphrack; no matter, where it merely has no kernel."""
    _counts["kernelless" if "No OpKernel" in message else "refusals"] += 1


def complaint(refuses: bool) -> str:
    """Why the test shows nothing; nothing if it does. `refuses`: what is refused is what it is about."""
    if not _counts["cases"] or _counts["values"] or (refuses and _counts["refusals"]):
        return ""
    return (
        f"nothing was compared: of {_counts['cases']} cases TensorFlow could run none, graphrack refused "
        f"{_counts['refusals']} of them, too, and for {_counts['kernelless']} TensorFlow has no kernel"
    )
