"""CTC's loss and decoders, and the edit distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ops.harness import Refused, check

from graphrack.ops import registry
from graphrack.ops.ctc import CTCLoss

seeds = pytest.mark.parametrize("seed", range(4))
precisions = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda t: t.__name__)


def logits(seed: int, steps: int = 7, batch: int = 3, classes: int = 5, dtype: Any = np.float32) -> Any:
    return (np.random.default_rng(seed).normal(size=(steps, batch, classes)) * 2).astype(dtype)


def lengths(*values: int) -> Any:
    return np.array(values, np.int32)


# ---- Decoders ----


@seeds
@precisions
@pytest.mark.parametrize("merge_repeated", [False, True])
@pytest.mark.parametrize("blank_index", [-1, 0, 2])
def test_greedy_decoding_takes_the_likeliest_class(
    seed: int, dtype: Any, merge_repeated: bool, blank_index: int
) -> None:
    check(
        "CTCGreedyDecoder",
        inputs=np.round(logits(seed, dtype=dtype)),  # with ties
        sequence_length=lengths(7, 4, 0),
        merge_repeated=merge_repeated,
        blank_index=blank_index,
    )


@seeds
@precisions
@pytest.mark.parametrize("merge_repeated", [False, True])
@pytest.mark.parametrize(("beam_width", "top_paths"), [(1, 1), (3, 2), (8, 8), (60, 3)])
def test_beam_search_finds_tensorflows_paths(
    seed: int, dtype: Any, merge_repeated: bool, beam_width: int, top_paths: int
) -> None:
    check(
        "CTCBeamSearchDecoder",
        inputs=logits(seed, dtype=dtype),
        sequence_length=lengths(7, 5, 3),
        beam_width=beam_width,
        top_paths=top_paths,
        merge_repeated=merge_repeated,
        rtol=1e-5,
        atol=1e-6,
    )


@seeds
def test_beam_search_through_a_long_sequence(seed: int) -> None:
    check(
        "CTCBeamSearchDecoder",
        inputs=logits(seed, 40, 2, 20),
        sequence_length=lengths(40, 33),
        beam_width=25,
        top_paths=5,
        merge_repeated=False,
        rtol=1e-5,
        atol=1e-5,
    )


WRONG_DECODERS: dict[str, dict[str, Any]] = {
    "lengths of another batch": {"sequence_length": lengths(7, 7)},
    "lengths beyond the steps": {"sequence_length": lengths(7, 8, 7)},
    "no matrix of logits": {"inputs": np.zeros((7, 3), np.float32)},
    "lengths no vector": {"sequence_length": np.full((3, 1), 7, np.int32)},
}


@pytest.mark.parametrize("case", WRONG_DECODERS)
def test_wrong_arguments_of_decoders_are_refused(case: str) -> None:
    arguments = {"inputs": logits(0), "sequence_length": lengths(7, 7, 7), **WRONG_DECODERS[case]}
    check("CTCGreedyDecoder", **arguments, refused=True)
    check("CTCBeamSearchDecoder", **arguments, beam_width=3, top_paths=2, refused=True)


def test_more_paths_than_there_are_are_refused() -> None:
    wide = {"inputs": logits(0), "sequence_length": lengths(7, 7, 0)}
    check("CTCBeamSearchDecoder", **wide, beam_width=3, top_paths=2, refused=True)
    check("CTCBeamSearchDecoder", **wide, beam_width=1, top_paths=2, refused=True)


# ---- Loss ----

INDICES = np.array([[0, 0], [0, 1], [0, 2], [1, 0], [2, 0], [2, 1]], np.int64)


@precisions
@pytest.mark.parametrize("ignore", [False, True], ids=["strict", "ignoring"])
@pytest.mark.parametrize("merge", [False, True], ids=["apart", "merging"])
@pytest.mark.parametrize("collapse", [False, True], ids=["", "collapsing"])
@pytest.mark.parametrize(
    "labels", [(1, 1, 2, 0, 3, 3), (0, 1, 0, 2, 1, 0), (0, 1, 4, 2, 1, 4), (0, 5, 1, 0, 0, 0), (-1, 0, 0, 0, 0, 0)]
)
def test_losses_and_gradients(labels: Any, collapse: bool, merge: bool, ignore: bool, dtype: Any) -> None:
    refusals = 0
    for sequence_length in ((7, 4, 3), (7, 4, 2), (3, 1, 2), (7, 4, 1), (7, 0, 3), (7, 4, 8)):
        found = check(
            "CTCLoss",
            inputs=logits(1, dtype=dtype),
            labels_indices=INDICES,
            labels_values=np.array(labels, np.int32),
            sequence_length=lengths(*sequence_length),
            preprocess_collapse_repeated=collapse,
            ctc_merge_repeated=merge,
            ignore_longer_outputs_than_inputs=ignore,
            rtol=1e-4,
            atol=1e-5,
        )
        refusals += isinstance(found, Refused)
    assert refusals >= 1


def test_a_batch_item_without_labels_is_refused() -> None:
    check(
        "CTCLoss",
        inputs=logits(0),
        labels_indices=INDICES[:3],
        labels_values=np.array([1, 2, 3], np.int32),
        sequence_length=lengths(7, 7, 7),
        refused=True,
    )


@pytest.mark.parametrize("merge", [False, True], ids=["apart", "merging"])
@pytest.mark.parametrize("scale", [8, 20, 60])
def test_improbable_logits_give_finite_losses(scale: int, merge: bool) -> None:
    check(
        "CTCLoss",
        inputs=logits(2, dtype=np.float64) * scale,  # TensorFlow's float32 gives infinite losses
        ctc_merge_repeated=merge,
        labels_indices=INDICES,
        labels_values=np.array([0, 1, 0, 2, 1, 0], np.int32),
        sequence_length=lengths(7, 6, 5),
        rtol=1e-4,
        atol=1e-4,
    )


def test_the_second_version_has_its_blank_first() -> None:
    """TensorFlow has it for GPUs only; it is the first with the classes moved by one."""
    inputs, values = logits(3), np.array([1, 3, 1, 2, 4, 4], np.int32)
    op = registry.lookup("CTCLossV2")
    assert op is not None
    second = op.bind("node", {}, {})
    loss, gradient = second(inputs, INDICES, values, lengths(7, 4, 5))
    moved = np.concatenate((inputs[..., 1:], inputs[..., :1]), axis=2)
    expected, by_moved = CTCLoss(moved, INDICES, values - 1, lengths(7, 4, 5))
    np.testing.assert_array_equal(loss, expected)
    np.testing.assert_array_equal(gradient[..., 1:], by_moved[..., :-1])
    np.testing.assert_array_equal(gradient[..., 0], by_moved[..., -1])
    with pytest.raises(ValueError, match="labels must be at least 1, since 0 is the blank; got 0"):
        second(inputs, INDICES, values - 1, lengths(7, 4, 5))


def test_the_gradient_is_that_of_the_loss() -> None:
    inputs = logits(5, 5, 1, 4, np.float64)
    indices, values = np.array([[0, 0], [0, 1]]), np.array([1, 1], np.int32)
    _, gradient = CTCLoss(inputs, indices, values, lengths(5))
    for place in np.ndindex(inputs.shape):
        sides = []
        for change in (1e-5, -1e-5):
            moved = inputs.copy()
            moved[place] += change
            sides.append(CTCLoss(moved, indices, values, lengths(5))[0][0])
        assert (sides[0] - sides[1]) / 2e-5 == pytest.approx(gradient[place], abs=1e-6)


@example(1036, 200, False, True)  # one way of likelihood exp(-408), whose square is no float
@given(st.integers(0, 1 << 30), st.sampled_from([0.5, 3, 40, 200]), st.booleans(), st.booleans())
def test_the_loss_is_the_same_where_nobody_takes_the_gradient(
    seed: int, scale: float, merge: bool, repeats: bool
) -> None:
    rng = np.random.default_rng(seed)
    steps, batch = int(rng.integers(1, 12)), int(rng.integers(1, 4))
    counts = rng.integers(1, 5, batch)
    given = (
        logits(seed, steps, batch, 3 if repeats else 9, np.float64) * scale,
        np.array([[b, i] for b, count in enumerate(counts) for i in range(count)], np.int64),
        rng.integers(0, 2 if repeats else 8, counts.sum()).astype(np.int32),
        rng.integers(0, steps + 1, batch).astype(np.int32),
    )
    options = {"ctc_merge_repeated": merge, "ignore_longer_outputs_than_inputs": True}
    with np.errstate(all="ignore"):
        expected, _ = CTCLoss(*given, **options)
        alone, gradient = CTCLoss(*given, **options, used_outputs=(0,))
    np.testing.assert_allclose(alone, expected, rtol=1e-9, atol=1e-9)
    assert not gradient.any()


# ---- Edit distance ----


def sparse(rows: list[list[list[int]]], dtype: Any) -> tuple[Any, Any, Any]:
    """A sparse tensor of sequences in a table."""
    places = [(i, j, k) for i, row in enumerate(rows) for j, found in enumerate(row) for k in range(len(found))]
    values: Any = np.array([v for row in rows for found in row for v in found], np.int64)
    values = np.array([b"%d" % v for v in values], object) if dtype is object else values.astype(dtype)
    longest = max((len(found) for row in rows for found in row), default=0)
    return np.array(places, np.int64).reshape(-1, 3), values, np.array([len(rows), len(rows[0]), longest], np.int64)


sequences = st.lists(st.integers(0, 3), max_size=6)
tables = st.lists(st.lists(sequences, min_size=2, max_size=2), min_size=1, max_size=3)


@given(tables, tables, st.booleans(), st.sampled_from([np.int64, np.float32, np.uint8, object]))
def test_distances_are_tensorflows(hypothesis: Any, truth: Any, normalize: bool, dtype: Any) -> None:
    names = ("indices", "values", "shape")
    arguments = {f"hypothesis_{n}": v for n, v in zip(names, sparse(hypothesis, dtype), strict=True)}
    arguments.update({f"truth_{n}": v for n, v in zip(names, sparse(truth, dtype), strict=True)})
    check("EditDistance", **arguments, normalize=normalize)


def test_sparse_tensors_that_contradict_themselves_are_refused() -> None:
    indices, values, shape = sparse([[[1, 2], [3]]], np.int64)
    truth = {"truth_indices": indices, "truth_values": values, "truth_shape": shape}
    for wrong in (
        {"hypothesis_indices": indices + 5, "hypothesis_values": values, "hypothesis_shape": shape},
        {"hypothesis_indices": indices, "hypothesis_values": values[:-1], "hypothesis_shape": shape},
        {"hypothesis_indices": indices[:, 1:], "hypothesis_values": values, "hypothesis_shape": shape[1:]},
    ):
        check("EditDistance", **wrong, **truth, refused=True)
