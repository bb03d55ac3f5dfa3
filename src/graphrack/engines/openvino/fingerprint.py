"""What tells one cluster from another, and arrays of one set of weights from those of another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphrack.formats.dtypes import DType

if TYPE_CHECKING:
    from graphrack.engines.openvino.compiled import ClusterProgram

# Raised when what a cluster is compiled to, or how it is described here, changes.
_VERSION = 6


def of_array(array: Any) -> str:
    """Dtype, shape, CRC-32C and sum of an array's bytes.

    The two checks find what the other may miss: the sum any single changed number, and the CRC numbers that changed
    places. Together they take 0.15 ms for a megabyte, a fifth of BLAKE2's time; nobody chooses weights to fool them.
    """
    import google_crc32c

    array = np.ascontiguousarray(array)
    data = array.reshape(-1).view(np.uint8)
    whole = data.size // 8 * 8
    total = int(data[:whole].view(np.uint64).sum(dtype=np.uint64)) if whole else 0
    return f"{array.dtype.str}{array.shape}:{google_crc32c.value(data):08x}{total:016x}"


def of_circumstances(circumstances: str) -> str:
    """8 hexadecimal digits for whatever else decides what a cluster compiles to: settings, OpenVINO, the processor."""
    return hashlib.blake2b(circumstances.encode(), digest_size=4).hexdigest()


class Description:
    """A cluster, told first without its constants and weights, whose bytes may be many.

    Attributes:
        structure: 8 hexadecimal digits, with which all clusters begin that differ in their values alone.
    """

    def __init__(self, program: ClusterProgram, ranks: Sequence[int]):
        """`ranks`: of its inputs."""
        self._program = program
        self._digest = hashlib.blake2b(digest_size=12)
        self._add(_VERSION)
        for part in program.parts:
            self._add(part.name, part.op, *part.inputs, _described(part.attributes))
        for given, rank in zip(program.inputs, ranks, strict=True):
            self._add(given.name, given.dtype, given.shape, rank)
        self._add(*program.outputs)
        self.structure = self._digest.hexdigest()[:8]

    def with_values(self, weights: Sequence[Any]) -> str:
        """24 hexadecimal digits for the cluster with these values of its weights. To be asked for once."""
        for name, value in (*self._program.constants.items(), *zip(self._program.weights, weights, strict=True)):
            self._add(name, of_array(value))
        return self.structure + self._digest.hexdigest()[:16]

    def _add(self, *values: Any) -> None:
        self._digest.update("\0".join(map(str, values)).encode() + b"\1")


def _described(value: Any) -> str:
    """An attribute, in words that are the same in every process."""
    if isinstance(value, Mapping):
        return str([(key, _described(value[key])) for key in sorted(value)])
    if isinstance(value, (list, tuple)):
        return str([_described(item) for item in value])
    if isinstance(value, DType):
        return value.name
    if isinstance(value, np.ndarray):
        return of_array(value) if value.dtype != object else str(value.tolist())
    if hasattr(value, "SerializeToString"):
        return str(value.SerializeToString(deterministic=True))
    return repr(value)
