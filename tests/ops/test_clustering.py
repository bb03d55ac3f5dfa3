from __future__ import annotations

import numpy as np
import pytest
from ops.harness import check

from graphrack.ops.registry import lookup

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(40, 3)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 3, 7])
@pytest.mark.parametrize("retries", [-1, 0, 1, 4])
def test_kmeans_starts_from_tensorflows_points(count: int, retries: int) -> None:
    for seed in (0, 1, 2**40 + 7, -3):
        check(
            "KmeansPlusPlusInitialization",
            points=POINTS,
            num_to_sample=np.int64(count),
            seed=np.int64(seed),
            num_retries_per_sample=np.int64(retries),
            refused=False,
        )


def test_kmeans_starts_from_points_of_one_place_or_none() -> None:
    arguments = {"seed": np.int64(1), "num_retries_per_sample": np.int64(2)}
    op = "KmeansPlusPlusInitialization"
    check(op, points=POINTS[:4] * 0, num_to_sample=np.int64(1), **arguments, refused=False)
    check(op, points=POINTS, num_to_sample=np.int64(41), **arguments, refused=True)
    check(op, points=POINTS, num_to_sample=np.int64(0), **arguments, refused=True)
    check(op, points=POINTS[:0], num_to_sample=np.int64(1), **arguments, refused=True)
    check(op, points=POINTS[0], num_to_sample=np.int64(1), **arguments, refused=True)


def test_markov_chain() -> None:
    for seed in range(6):
        distances = RNG.random(50).astype(np.float32)
        check("KMC2ChainInitialization", distances=distances, seed=np.int64(seed), refused=False)
    check("KMC2ChainInitialization", distances=POINTS[:0, 0], seed=np.int64(1), refused=True)
    check("KMC2ChainInitialization", distances=POINTS, seed=np.int64(1), refused=True)


@pytest.mark.parametrize("k", [0, 1, 3, 9])
def test_nearest_neighbors(k: int) -> None:
    for points, centers in (
        (POINTS, RNG.normal(size=(5, 3)).astype(np.float32)),
        (POINTS, np.zeros((5, 3), np.float32)),
        (POINTS, POINTS[:0]),
        (POINTS[:0], POINTS),
        (POINTS, POINTS[:, :2]),
        (POINTS[0], POINTS),
        (np.tile(POINTS, (40, 1)), RNG.normal(size=(1500, 3)).astype(np.float32)),
    ):
        check("NearestNeighbors", points=points, centers=centers, k=np.int64(k), atol=1e-5)


def test_a_negative_number_of_neighbors_is_refused() -> None:
    op = lookup("NearestNeighbors")  # it takes TensorFlow's whole process down
    assert op is not None
    with pytest.raises(ValueError, match="k be at least 0, got .* and -1"):
        op.bind("n", {}, {})(POINTS, POINTS, np.int64(-1))
