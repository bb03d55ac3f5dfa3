"""StringNGrams against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ops.harness import check

WORDS = np.array([b"a", b"bb", b"c", b"d"], object)


def _check(splits: Any, widths: Any, pad: int, preserve: bool, words: Any = WORDS, **given: Any) -> None:
    check(
        "StringNGrams", data=words, data_splits=splits, separator=b"|", ngram_widths=widths, left_pad=b"L",
        right_pad=b"R", pad_width=pad, preserve_short_sequences=preserve, **given,
    )  # fmt: skip


@pytest.mark.parametrize("preserve", [False, True])
@pytest.mark.parametrize("pad", [-1, 0, 1, 2])
@pytest.mark.parametrize("widths", [[1], [2], [1, 2, 3], [5], []])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_ngrams_agree(dtype: Any, widths: list[int], pad: int, preserve: bool) -> None:
    _check(np.array([0, 3, 3, 4], dtype), widths, pad, preserve)
    _check(np.array([0, 0], dtype), widths, pad, preserve, WORDS[:0])


@pytest.mark.parametrize("splits", [[1, 4], [0, 3, 2, 4], [0, 3], [0, 5]])
def test_splits_that_do_not_fit_are_refused(splits: list[int]) -> None:
    _check(np.array(splits), [2], 0, False, refused=True)


def test_widths_must_be_positive() -> None:
    _check(np.array([0, 4]), [0], 0, False, refused=True)
