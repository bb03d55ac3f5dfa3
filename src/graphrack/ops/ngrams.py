"""N-grams of ragged strings: StringNGrams."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from graphrack.ops.registry import specialized
from graphrack.ops.runtime import Array
from graphrack.ops.strings import strings_of


@specialized("StringNGrams", outputs=2)
def StringNGrams(
    *,
    separator: bytes,
    ngram_widths: list[int],
    left_pad: bytes,
    right_pad: bytes,
    pad_width: int,
    preserve_short_sequences: bool,
) -> Any:
    def grams(tokens: list[bytes], width: int, pad: int) -> list[bytes]:
        padded = [left_pad] * pad + tokens + [right_pad] * pad
        return [separator.join(padded[i : i + width]) for i in range(len(padded) - width + 1)]

    def of_row(tokens: list[bytes]) -> list[bytes]:
        found: list[bytes] = []
        for width in ngram_widths:
            found += grams(tokens, width, width - 1 if pad_width < 0 else min(pad_width, width - 1))
        if not found and tokens and preserve_short_sequences:
            if pad_width < 0:
                raise ValueError(f"to preserve short sequences, pad_width must be at least 0, got {pad_width}")
            width = len(tokens) + 2 * pad_width
            return grams(tokens, width, min(pad_width, width - 1))
        return found

    def kernel(data: Array, data_splits: Array) -> tuple[Array, Array]:
        if ngram_widths and min(ngram_widths) < 1:
            raise ValueError(f"ngram_widths must be positive, got {ngram_widths}")
        ends = data_splits.tolist()
        if ends and (ends[0] != 0 or ends[-1] != data.size or (np.diff(data_splits) < 0).any()):
            raise ValueError(f"data_splits must rise from 0 to the number of strings, {data.size}; got {ends[:16]}")
        if not data.size or not ends:
            return data, np.zeros_like(data_splits)
        texts: list[bytes] = data.tolist()
        rows = [of_row(texts[a:b]) for a, b in pairwise(ends)]
        found = [gram for row in rows for gram in row]
        splits = np.cumsum([0, *map(len, rows)]).astype(data_splits.dtype)
        return strings_of(found, (len(found),)), splits

    return kernel
