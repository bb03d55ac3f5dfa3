"""V2 checkpoints ("tensor bundles"): an index `P.index` and the values in `P.data-00000-of-00001` ….

The index is a table; `bundle_index` draws its entries. Shard s of n is the file `P.data-s-of-n`, both
numbers with five digits; only shards that entries use need to be there.

A data file has no structure of its own: tensors lie where the index says, and between them are zeros.
A tensor's bytes:

    fixed-size dtypes    elements in row-major order, in the byte order that the index's header gives;
                         bool, int4 and the like take a byte each
    strings              varint length per element; masked CRC-32C (4 bytes) of the lengths, taken over
                         4 bytes each (8 where a length needs more than 32 bits); then all bytes.
                         The entry's checksum covers the lengths in that wide form, the 4 bytes, the bytes
    variants             per element: varint size, serialized bytes, masked CRC-32C (4 bytes) of all so
                         far; sizes count with 8 bytes each, and the checksums themselves count too.
                         They are verified; the values (iterators, lists) can't be read

`bundle_reader` reads, `bundle_writer` writes, and says by which steps a save becomes visible.
"""

from __future__ import annotations

from graphrack.formats.bundle_reader import BundleReader
from graphrack.formats.bundle_writer import BundleWriter, merge_bundles

__all__ = ["BundleReader", "BundleWriter", "merge_bundles"]
