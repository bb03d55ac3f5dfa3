"""Candidate samplers draw TensorFlow's classes, run after run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import check
from ops.session import KernelState, check_sessions

from graphrack.ops import registry

SIMPLE = [
    "UniformCandidateSampler",
    "LogUniformCandidateSampler",
    "LearnedUnigramCandidateSampler",
    "ThreadUnsafeUnigramCandidateSampler",
]


def sample(op_name: str, classes: np.ndarray, refused: bool = False, runs: int = 4, **attributes: Any) -> None:
    def build() -> Any:
        given = {"num_true": 2, "seed": 3, "seed2": 4, **attributes}
        return list(getattr(tf.raw_ops, op_name)(true_classes=tf.placeholder(tf.int64, None, "classes"), **given))

    check_sessions(build, runs, {"classes:0": classes}, rtol=2e-6, atol=0, refused=refused, note=op_name)


def true_classes(range_max: int) -> np.ndarray:
    return np.random.RandomState(1).randint(0, range_max, (5, 2))


@pytest.mark.parametrize("op_name", SIMPLE)
@pytest.mark.parametrize("unique", [False, True])
def test_sampled_classes_and_their_expected_counts_are_tensorflows(op_name: str, unique: bool) -> None:
    for range_max, num_sampled in ((10, 7), (64, 64), (1000, 300), (5, 1), (50_000, 64)):
        given = {"range_max": range_max, "num_sampled": num_sampled, "unique": unique}
        sample(op_name, true_classes(range_max), **given)
    sample(op_name, np.zeros((0, 2), np.int64), range_max=10, num_sampled=3, unique=unique)


@pytest.mark.parametrize("unique", [False, True])
def test_classes_with_given_weights_are_tensorflows(unique: bool) -> None:
    weights = [float(w) for w in np.random.RandomState(2).randint(1, 30, 20)]
    given = {"num_sampled": 9, "unique": unique, "range_max": 20}
    op_name = "FixedUnigramCandidateSampler"
    sample(op_name, true_classes(20), unigrams=weights, **given)
    sample(op_name, true_classes(20), unigrams=weights, distortion=0.75, **given)
    sample(op_name, true_classes(20), unigrams=weights[:17], num_reserved_ids=3, **given)
    for shard in (0, 1):
        some = {**given, "range_max": 10, "num_shards": 2, "shard": shard}
        sample(op_name, true_classes(10), unigrams=weights, **some)
        some.update(range_max=10 - shard, num_sampled=7)  # 3 or 2 of 5 reserved, and 7 of 15
        sample(op_name, true_classes(9), unigrams=weights[:15], num_reserved_ids=5, **some)
    sample(op_name, true_classes(20), unigrams=weights[:19], refused=True, **given)


def test_all_classes_are_sampled_by_the_sampler_of_all() -> None:
    sample("AllCandidateSampler", true_classes(10), num_sampled=10, unique=True)
    sample("AllCandidateSampler", np.array([[3, 10]]), num_sampled=10, unique=True, refused=True)


@pytest.mark.parametrize("op_name", SIMPLE)
def test_classes_that_do_not_fit_are_refused(op_name: str) -> None:
    given = {"range_max": 10, "num_sampled": 3, "unique": True}
    for classes in ([[0, 10]], [[-1, 3]], [[1, 2, 3]], [1, 2]):
        sample(op_name, np.array(classes), refused=True, **given)
    sample(op_name, true_classes(10), refused=True, **{**given, "num_sampled": 11})


def test_more_unique_classes_than_have_a_weight_are_refused() -> None:
    # TensorFlow looks for them until it has tried 2 ** 31 times, and aborts.
    attributes = {"num_true": 1, "num_sampled": 3, "unique": True, "range_max": 4, "unigrams": [1.0, 0.0, 2.0, 0.0]}
    kernel = registry.lookup("FixedUnigramCandidateSampler").bind("op", attributes, {})
    with pytest.raises(ValueError, match="num_sampled 3 unique classes need as many that can be drawn, found 2"):
        kernel(KernelState(), np.zeros((1, 1), np.int64))


def test_weights_come_from_the_last_column_of_a_vocabulary(tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocabulary.csv"
    vocabulary.write_text("the,9\na,4.5\nof,2\n")
    attributes = {"num_true": 1, "num_sampled": 20, "unique": False, "range_max": 3, "seed": 5}
    by_file, by_list = (
        registry.lookup("FixedUnigramCandidateSampler").bind("op", {**attributes, **given}, {})
        for given in ({"vocab_file": str(vocabulary).encode()}, {"unigrams": [9.0, 4.5, 2.0]})
    )
    classes = np.zeros((1, 1), np.int64)
    for ours, theirs in zip(by_file(Allowing(), classes), by_list(KernelState(), classes), strict=True):
        assert np.array_equal(ours, theirs)
    vocabulary.write_text("the,9\na,often\n")
    with pytest.raises(ValueError, match=r"line 2 of vocabulary .* must end with a weight, found 'a,often'"):
        by_file(Allowing(), classes)


class Allowing(KernelState):
    def file_allowed(self, path: bytes, what: str) -> str:
        return path.decode()


def test_accidental_hits_are_where_tensorflow_finds_them() -> None:
    given = {"true_classes": true_classes(9), "num_true": 2}
    check("ComputeAccidentalHits", **given, sampled_candidates=np.array([3, 8, 1, 3, 5]))
    check("ComputeAccidentalHits", **given, sampled_candidates=np.array([77]))
    check("ComputeAccidentalHits", **given, sampled_candidates=np.zeros(0, np.int64))
    check("ComputeAccidentalHits", **given, sampled_candidates=np.array([[1]]), refused=True)
    check("ComputeAccidentalHits", true_classes=true_classes(9), num_true=3, sampled_candidates=np.array([1]))
