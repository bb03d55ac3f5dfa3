"""The networks that are measured: their files, what they take, what is fetched. `networks.py` builds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SMALL_MODELS = 100


@dataclass(frozen=True)
class Network:
    """A network's names. Its files lie in a folder of its name: `frozen.pb`, `model.ckpt.*`, `saved_model/`.

    Attributes:
        inputs: placeholder's name to its key in what `values` gives.
        output: the tensor that is fetched.
        values: feeds of so many examples, the same in every process.
        batches: the batch sizes that are measured.
    """

    name: str
    title: str
    output: str
    values: Callable[[int], dict[str, np.ndarray[Any, Any]]]
    batches: tuple[int, ...] = (1, 8)

    def folder(self, work: Path | str) -> Path:
        return Path(work) / "networks" / self.name

    def frozen(self, work: Path | str) -> Path:
        return self.folder(work) / "frozen.pb"

    def checkpoint(self, work: Path | str) -> Path:
        """The prefix; the graph is in `.meta`."""
        return self.folder(work) / "model.ckpt"

    def saved_model(self, work: Path | str) -> Path:
        return self.folder(work) / "saved_model"

    def onnx(self, work: Path | str) -> Path:
        """There only where tf2onnx can convert the frozen graph."""
        return self.folder(work) / "model.onnx"


def _random() -> np.random.Generator:
    import numpy as np

    return np.random.default_rng(7)


def _vectors(*shape: int) -> Callable[[int], dict[str, np.ndarray[Any, Any]]]:
    def values(batch: int) -> dict[str, np.ndarray[Any, Any]]:
        return {"input:0": _random().standard_normal((batch, *shape)).astype("float32")}

    return values


def _tokens(batch: int) -> dict[str, np.ndarray[Any, Any]]:
    """Sentences of 128 tokens, each of two segments and padded at its end, as BERT's tokenizer leaves them."""
    import numpy as np

    random, at = _random(), np.arange(128)
    ids = random.integers(1000, 30522, (batch, 128))
    length = random.integers(64, 129, (batch, 1))
    mask = at < length
    return {
        "input_ids:0": np.where(mask, ids, 0).astype(np.int32),
        "input_mask:0": mask.astype(np.int32),
        "segment_ids:0": ((at >= length // 2) & mask).astype(np.int32),
    }


def _photo(batch: int) -> dict[str, np.ndarray[Any, Any]]:
    """An image with some structure at every scale, 0 to 255."""
    import numpy as np

    assert batch == 1
    random = _random()
    image = np.zeros((480, 640, 3), np.float32)
    for size in (8, 16, 32, 64, 160):
        coarse = random.uniform(0, 51, (480 // size + 1, 640 // size + 1, 3)).astype(np.float32)
        image += np.kron(coarse, np.ones((size, size, 1), np.float32))[:480, :640]
    return {"input:0": image}


MLP = Network("mlp", "MLP, 784-1024-1024-10", "probabilities:0", _vectors(784))
MOBILENET = Network("mobilenet", "MobileNet v2, 224 × 224", "probabilities:0", _vectors(224, 224, 3))
RESNET = Network("resnet50", "ResNet-50, 224 × 224", "probabilities:0", _vectors(224, 224, 3))
BERT = Network("bert", "BERT-base, 128 tokens", "bert/pooler/output:0", _tokens)
CASCADE = Network("cascade", "Face detector's cascade, 480 × 640", "found:0", _photo, batches=(1,))
RNN = Network("rnn", "LSTM over 200 steps (dynamic_rnn)", "probabilities:0", _vectors(200, 64))
SMALL = Network("small", "MLP, 64-256-256-10", "probabilities:0", _vectors(64), batches=(1,))
"""`SMALL_MODELS` checkpoints of one graph with different weights: `model-0.*`, `model-1.*`, … instead of one."""

NETWORKS = {n.name: n for n in (MLP, MOBILENET, RESNET, BERT, CASCADE, RNN, SMALL)}
