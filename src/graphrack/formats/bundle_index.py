"""The index of a V2 checkpoint ("tensor bundle"): what is in `P.index`, checked when read.

`P.index` is a table (see `table` for the file around its entries):

    key                  value
    empty                BundleHeaderProto: number of shards, byte order of the data, version
    a tensor's name      BundleEntryProto: dtype, shape, and where its bytes are: shard, offset, size,
                         masked CRC-32C; or, for a tensor saved in parts, its slices and no bytes
    a slice's key        BundleEntryProto of that part: its own shape, shard, offset, size, checksum
                         (`tensor_slices.slice_key`: a zero byte, then name and extents in ordered form)

`bundle` draws the data files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from graphrack.errors import CorruptCheckpoint
from graphrack.formats.coding import MalformedError
from graphrack.formats.dtypes import DTYPES, DType
from graphrack.formats.table import table_of, write_table
from graphrack.formats.tensor_slices import (
    Extent,
    bounds_of,
    format_slice,
    shape_of,
    slice_key,
    slice_of_proto,
    slice_to_proto,
)

HEADER_KEY = b""
SLICE_PREFIX = b"\0"
VERSION = 1  # of the format; frozen
MAX_RANK = 254  # TensorFlow's
CHECKSUM_SIZE = 4
_MAX_BYTES = 1 << 63


class Entry(NamedTuple):
    """Where the bytes of a tensor, or of a slice of one, lie; with `slices`, it has none of its own."""

    dtype: DType
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int  # masked
    slices: tuple[tuple[Extent, ...], ...] = ()


class Index(NamedTuple):
    """A checked index: number of shards, byte order, entries by key without the header, keys by name."""

    shards: int
    big_endian: bool
    entries: dict[bytes, Entry]
    names: dict[str, bytes]

    def ends(self) -> dict[int, int]:
        """Per shard that an entry needs, the size that its file must at least have."""
        ends: dict[int, int] = {}
        for _, _, shard, offset, size, _, slices in self.entries.values():
            if not slices and ends.get(shard, -1) < offset + size:
                ends[shard] = offset + size
        return ends


def index_path(prefix: str) -> str:
    """The file that holds a checkpoint's index."""
    return prefix + ".index"


def data_path(prefix: str, shard: int, shards: int) -> str:
    """The file that holds one shard of a checkpoint's data."""
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


def name_of(key: bytes) -> str:
    """A tensor's name as text; bytes that are no UTF-8 survive the way there and back."""
    return key.decode("utf-8", "surrogateescape")


def key_of(name: str) -> bytes:
    """The bytes of a tensor's name."""
    return name.encode("utf-8", "surrogateescape")


def parse_index(data: bytes, path: str) -> Index:
    """All of an index file, checked. Raises `CorruptCheckpoint` that names the tensor."""
    from google.protobuf.message import DecodeError

    from graphrack.formats.protos.checkpoint_pb2 import BundleEntryProto, BundleHeaderProto

    items = iter(table_of(data, path))
    header_key, value = next(items, (None, b""))
    if header_key != HEADER_KEY:
        raise CorruptCheckpoint(
            f"{path} has no header; it may be a V1 checkpoint or another table, given another file's name"
        )
    key = HEADER_KEY
    try:
        header = BundleHeaderProto.FromString(value)
        big, shards = header.endianness == BundleHeaderProto.BIG, header.num_shards
        oldest = header.version.min_consumer
        if oldest > VERSION or VERSION in header.version.bad_consumers:
            raise CorruptCheckpoint(f"{path} wants a reader of version {oldest}; this one is of version {VERSION}")
        if shards < 1 or header.endianness not in (BundleHeaderProto.LITTLE, BundleHeaderProto.BIG):
            raise CorruptCheckpoint(
                f"{path} declares {shards} shards and byte order {header.endianness}; "
                f"there is at least 1 shard, and the order is 0 (little) or 1 (big)"
            )
        parse = BundleEntryProto.FromString
        entries: dict[bytes, Entry] = {}
        for key, value in items:
            e = parse(value)
            shape = e.shape
            entry = Entry(
                _dtype(e.dtype),
                tuple([d.size for d in shape.dim]) if not shape.unknown_rank else (-1,),
                e.shard_id,
                e.offset,
                e.size,
                e.crc32c,
                tuple(map(slice_of_proto, e.slices)) if e.slices else (),
            )
            _check_entry(entry, shards)
            entries[key] = entry
    except DecodeError as e:
        raise CorruptCheckpoint(f"{path}: the entry of {name_of(key)!r} is no protocol buffer of its kind ({e})") from e
    except MalformedError as e:
        raise CorruptCheckpoint(f"{path}: the entry of {name_of(key)!r} {e}") from None
    _check_slices(entries, path)
    _check_places(entries, path)
    return Index(shards, big, entries, {name_of(key): key for key in entries if key[:1] != SLICE_PREFIX})


def build_index(entries: Mapping[bytes, Entry], shards: int) -> bytes:
    """The bytes of an index file of little-endian data, as TensorFlow writes them."""
    from graphrack.formats.protos.checkpoint_pb2 import BundleEntryProto, BundleHeaderProto

    def items() -> Iterable[tuple[bytes, bytes]]:
        header = BundleHeaderProto(num_shards=shards)
        header.version.producer = VERSION
        yield HEADER_KEY, header.SerializeToString()
        for key, entry in sorted(entries.items()):
            proto = BundleEntryProto(
                dtype=entry.dtype.number,  # type: ignore[arg-type]
                shard_id=entry.shard,
                offset=entry.offset,
                size=entry.size,
                crc32c=entry.checksum,
            )
            proto.shape.SetInParent()  # a scalar's shape is there, and empty
            for size in entry.shape:
                proto.shape.dim.add(size=size)
            for part in entry.slices:
                slice_to_proto(part, proto.slices.add())
            yield key, proto.SerializeToString()

    return write_table(items())


def _dtype(number: int) -> DType:
    dtype = DTYPES.get(number)
    if dtype is None:
        raise MalformedError(f"has the dtype number {number}, which is none of TensorFlow's")
    return dtype


def _itemsize(dtype: DType) -> int:
    size = _ITEMSIZES.get(dtype.number)
    if size is None:
        size = _ITEMSIZES[dtype.number] = dtype.itemsize
    return size


_ITEMSIZES: dict[int, int] = {}


def _check_entry(entry: Entry, shards: int) -> None:
    dtype, shape, shard, offset, size, _, slices = entry
    itemsize = _itemsize(dtype)
    if shape:
        if min(shape) < 0:
            raise MalformedError(f"has the shape {list(shape)}; sizes can't be unknown or negative")
        if len(shape) > MAX_RANK:
            raise MalformedError(f"has {len(shape)} dimensions; at most {MAX_RANK} are possible")
    count = math.prod(shape)
    # As NumPy does, the sizes other than 0 count: an array without elements can be too big as well.
    if (count or math.prod(n for n in shape if n)) * (itemsize or 1) >= _MAX_BYTES:
        raise MalformedError(f"has the shape {list(shape)}, which is more than 2^63 bytes of {dtype}")
    if offset < 0 or size < 0 or not 0 <= shard < shards or offset + size >= _MAX_BYTES:
        raise MalformedError(
            f"places {size} bytes at offset {offset} of shard {shard}; "
            f"neither can be negative, and there are {shards} shards"
        )
    if slices:
        if size:
            raise MalformedError(f"has {len(slices)} slices and {size} bytes of its own; it can't have both")
    elif itemsize:
        if size != count * itemsize:
            raise MalformedError(f"has {size} bytes, and {dtype} of shape {list(shape)} takes {count * itemsize}")
    elif dtype.is_string and size < count + CHECKSUM_SIZE:
        raise MalformedError(
            f"has {size} bytes, and string of shape {list(shape)} takes at least {count + CHECKSUM_SIZE}"
        )


def _check_slices(entries: dict[bytes, Entry], path: str) -> None:
    for key, whole in entries.items():
        for part in whole.slices:
            what = f"{path}: tensor {name_of(key)!r} of shape {list(whole.shape)}"
            bounds = bounds_of(whole.shape, part)
            if bounds is None:
                raise CorruptCheckpoint(f"{what} declares the slice {format_slice(part)}, which doesn't lie within it")
            entry = entries.get(slice_key(key, part))
            if entry is None:
                raise CorruptCheckpoint(f"{what} declares the slice {format_slice(part)}, which has no entry")
            if entry.dtype.number != whole.dtype.number or entry.shape != shape_of(bounds) or entry.slices:
                raise CorruptCheckpoint(
                    f"{what} and dtype {whole.dtype} has the slice {format_slice(part)}, "
                    f"whose entry says {entry.dtype} of shape {list(entry.shape)}"
                )


def _check_places(entries: dict[bytes, Entry], path: str) -> None:
    places = sorted((e[2], e[3], e[4], key) for key, e in entries.items() if e[4])
    shard, end, before = -1, 0, b""
    for place in places:
        if place[0] == shard and place[1] < end:
            raise CorruptCheckpoint(
                f"{path}: tensors {name_of(before)!r} and {name_of(place[3])!r} overlap in shard {shard} "
                f"at offset {place[1]}; each must have bytes of its own"
            )
        shard, end, before = place[0], place[1] + place[2], place[3]
