"""What TensorFlow gave in the tests, kept on disk: for a run of graphrack where TensorFlow can't be imported.

With `GRAPHRACK_RECORD=folder`, every case that the tests have TensorFlow judge is appended to a file of that
folder, one file for each test function: the graph's bytes, what was run in which order with which feeds, and what
came out. `tests/without_tensorflow` replays them. Every case, kept or not, is run by OpenVINO, too, where that is
asked for (`by_openvino.py`). Nothing here imports TensorFlow.
"""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import by_openvino
import numpy as np

FOLDER = os.path.abspath(os.environ["GRAPHRACK_RECORD"]) if "GRAPHRACK_RECORD" in os.environ else ""
ALIKE = 4
"""How many cases of one test are kept that have the same nodes and dtypes: generated tests make hundreds."""


class Refusal(NamedTuple):
    """What stands for an error in place of results: graphrack must refuse, too."""

    message: str


class Run(NamedTuple):
    """One run of a session: tensors and operations by name, feeds, and a value for each fetch, or a `Refusal`.

    Values that aren't to be compared (outputs that TensorFlow leaves unspecified) are None.
    """

    fetches: Sequence[str]
    feeds: dict[str, Any]
    values: Any


class Graph(NamedTuple):
    """A GraphDef that was run, on one state from run to run, and how close graphrack must come.

    The values are TensorFlow's, but for tests that judge in a way of their own (decoded pictures need not be equal):
    of these graphrack's, which the test has judged.
    """

    graph: bytes
    runs: Sequence[Run]
    rtol: float | None = None
    atol: float | None = None


class Call(NamedTuple):
    """A call of a signature: values by the names of its inputs, and of its outputs."""

    signature: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class Opened(NamedTuple):
    """A model that TensorFlow wrote, and what it did with it: runs and calls in this order, on one state.

    Attributes:
        archive: the files of a folder.
        path: the model, within the folder.
        restore: a checkpoint in the folder that the model is given first.
        variables: values after all of these; `initial`: those that its initialisers give; `saved`: of tensors in
            what it saves then.
    """

    archive: bytes
    path: str
    runs: Sequence[Run] = ()
    calls: Sequence[Call] = ()
    restore: str = ""
    variables: Mapping[str, Any] = {}
    initial: Mapping[str, Any] = {}
    saved: Mapping[str, Any] = {}
    rtol: float | None = None
    atol: float | None = None


_seen: Counter[Any] = Counter()


def _dtype(value: Any) -> str:
    return str(np.asarray(value).dtype) if not isinstance(value, Refusal) else "refused"


def record(
    graph: bytes, runs: Sequence[Run], rtol: float | None = None, atol: float | None = None, kind: str = ""
) -> None:
    """Keeps one graph and its runs, where recording is asked for and the test hasn't kept enough alike.

    Attributes:
        kind: what tells it from others of the test that have the same size (the op's name, say).
    """
    if by_openvino.FOLDER:
        by_openvino.agree(graph, runs)
    if not FOLDER:
        return
    dtypes = [sorted((k, _dtype(v)) for k, v in run.feeds.items()) for run in runs]
    refused = [isinstance(run.values, Refusal) for run in runs]
    key = (_test(), kind, len(graph), str(dtypes), str(refused))
    _seen[key] += 1
    if _seen[key] <= ALIKE:
        _append(Graph(graph, runs, rtol, atol))


def record_opened(path: Path, **facts: Any) -> None:
    """Keeps the files of a model, a folder or all that its folder has, and what TensorFlow did with it."""
    if by_openvino.FOLDER:
        by_openvino.agree_opened(path, facts.get("runs", ()), facts.get("calls", ()), facts.get("restore", ""))
    if FOLDER:
        folder = path if path.is_dir() else path.parent
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for entry in [folder] if path.is_dir() else filter(Path.is_file, folder.iterdir()):
                archive.add(entry, "." if entry == folder else entry.name)
        _append(Opened(buffer.getvalue(), "." if path.is_dir() else path.name, **facts))


def _test() -> str:
    """The running test's module and function, without its parameters."""
    where, _, function = os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0].partition("::")
    return f"{where.removeprefix('tests/').removesuffix('.py').replace('/', '.')}::{function.partition('[')[0]}"


def _append(kept: Graph | Opened) -> None:
    folder = Path(FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    data = zlib.compress(pickle.dumps(kept, protocol=5), 1)
    # A file for each process: others may run the same test's other cases.
    with (folder / f"{_test().replace('::', '--')}.{os.getpid()}").open("ab") as file:
        file.write(len(data).to_bytes(8, "little") + data)


def recorded_tests(folder: Path) -> list[str]:
    """The names of the tests of which cases were kept."""
    return sorted({path.stem.replace("--", "::") for path in folder.glob("*--*.*")})


def kept(folder: Path, test: str) -> Iterator[Graph | Opened]:
    """The cases of one test, in the order in which they were run."""
    for path in sorted(folder.glob(f"{test.replace('::', '--')}.*")):
        with path.open("rb") as file:
            while size := file.read(8):
                yield pickle.loads(zlib.decompress(file.read(int.from_bytes(size, "little"))))


def unpack(archive: bytes, folder: Path) -> None:
    """Puts an archive's files into a folder."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")


def members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """An archive's files: their names and what is in them."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            if (file := files.extractfile(member)) is not None:
                yield member.name, file.read()
