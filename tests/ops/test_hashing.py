"""Hashes of strings against TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ops.harness import check
from ops.samples import ALL, check_if_known, sample, strings, text

ALL_BITS = 2**63 - 1


def test_hashes_of_every_length_agree() -> None:
    random = np.random.default_rng(0)
    lengths = [*range(140), 191, 192, 193, 256, 257, 1000, 4097]
    words = strings(*(random.bytes(n) for n in lengths))
    check("StringToHashBucketFast", refused=False, input=words, num_buckets=ALL_BITS)
    check("StringToHashBucket", refused=False, string_tensor=words, num_buckets=ALL_BITS)
    check("StringToHashBucketStrong", refused=False, input=words, num_buckets=ALL_BITS, key=[123456789, -5])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, ALL_BITS), st.integers(-(2**63), ALL_BITS))
def test_hashes_agree(words: list[bytes], buckets: int, key: int) -> None:
    check("StringToHashBucketFast", refused=False, input=strings(*words), num_buckets=buckets)
    check("StringToHashBucket", refused=False, string_tensor=strings(*words), num_buckets=buckets)
    check("StringToHashBucketStrong", refused=False, input=strings(*words), num_buckets=buckets, key=[key, 7])


def test_hashes_keep_the_shape() -> None:
    check("StringToHashBucketFast", refused=False, input=text(b"a"), num_buckets=5)
    check("StringToHashBucket", refused=False, string_tensor=strings([b"a", b"b"]), num_buckets=5)
    check("StringToHashBucketStrong", refused=True, input=text(b"a"), num_buckets=5, key=[1])


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_fingerprints_agree(dtype: np.dtype) -> None:
    for shape in ((3, 4), (2,), (0, 3), (2, 3, 5)):
        check_if_known("Fingerprint", data=sample(shape, dtype), method=text(b"farmhash64"))


def test_fingerprint_refuses_scalars_and_other_methods() -> None:
    check("Fingerprint", refused=True, data=text(b"a"), method=text(b"farmhash64"))
    check("Fingerprint", refused=True, data=strings(b"a"), method=text(b"md5"))
    check("Fingerprint", refused=False, data=np.zeros((3, 0)), method=text(b"farmhash64"))
    check("Fingerprint", refused=False, data=strings([b"a", b""], [b"x" * 70, b"y"]), method=text(b"farmhash64"))
