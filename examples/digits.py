"""The UCI handwritten digits, split once for training, demo and tests.

scikit-learn carries the test part of the UCI set "Optical Recognition of Handwritten Digits": 1797 images of
8 by 8 pixels with 17 shades. The last 360 are held back: no model sees them while it trains. As the set
keeps each writer's images together, they come from writers hardly seen before, which makes them harder than a
random choice would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

HELD_BACK = 360
SHADES = 16


@dataclass(frozen=True)
class Digits:
    """Images of digits and what they show."""

    raw: NDArray[np.uint8]
    """Pixels as scanned, 0 (paper) to 16 (ink), shape [n, 8, 8]."""
    labels: NDArray[np.int64]
    """The digit each image shows, shape [n]."""

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.labels)

    @property
    def images(self) -> NDArray[np.float32]:
        """Pixels from 0 to 1 with a channel axis, shape [n, 8, 8, 1]."""
        return np.divide(self.raw[..., np.newaxis], SHADES, dtype=np.float32)

    @property
    def pixels(self) -> NDArray[np.float32]:
        """Pixels from 0 to 1, a row for each image, shape [n, 64]."""
        return self.images.reshape(len(self), -1)

    @property
    def one_hot(self) -> NDArray[np.float32]:
        """The labels as rows with a single 1, shape [n, 10]."""
        rows: NDArray[np.float32] = np.eye(10, dtype=np.float32)[self.labels]
        return rows


@lru_cache(maxsize=1)
def _all() -> Digits:
    from sklearn.datasets import load_digits

    found = load_digits()
    return Digits(found.images.astype(np.uint8), found.target.astype(np.int64))


def training() -> Digits:
    """The 1437 images that models may learn from."""
    return Digits(_all().raw[:-HELD_BACK], _all().labels[:-HELD_BACK])


def held_back() -> Digits:
    """The 360 images that no model has seen."""
    return Digits(_all().raw[-HELD_BACK:], _all().labels[-HELD_BACK:])


def accuracy(answers: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """The share of right answers. `answers`: classes, shape [n], or probabilities, shape [n, 10]."""
    classes = answers.argmax(axis=-1) if answers.ndim == 2 else answers
    return float(np.mean(classes == labels))


def vote(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """The class that most models name; of tied classes, the one with the greater sum of probabilities.

    `probabilities` has the shape [models, n, 10]; the result has the shape [n].
    """
    ballots = np.eye(probabilities.shape[-1])[probabilities.argmax(axis=-1)].sum(axis=0)
    # The summed probabilities are at most the number of models, so that divided they only break ties.
    tie_break = probabilities.sum(axis=0, dtype=np.float64) / (len(probabilities) + 1)
    return np.asarray((ballots + tie_break).argmax(axis=-1), np.int64)


def petals() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Length and width in cm of the petals of 150 irises (Fisher 1936), each of shape [150]."""
    from sklearn.datasets import load_iris

    data = load_iris().data.astype(np.float32)
    return data[:, 2], data[:, 3]
