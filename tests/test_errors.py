"""Every error class raised for real, with the words that its message owes: the thing, found, expected, what to do."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixture_paths import FIXTURES, MODELS

import graphrack as gr
from graphrack import errors
from graphrack.formats.protos.graph_pb2 import GraphDef

CUBIC = MODELS / "cubic" / "model_name"


def copied(folder: Path, *names: str) -> Path:
    for name in names or (".index", ".data-00000-of-00001", ".meta"):
        shutil.copy(f"{CUBIC}{name}", folder / f"m{name}")
    return folder / "m"


def graph(folder: Path, *definitions: tuple[str, str, list[str]]) -> Path:
    made = GraphDef()
    for op, name, inputs in definitions:
        node = made.node.add(op=op, name=name, input=inputs)
        node.attr["dtype" if op == "Placeholder" else "T"].type = 1
    (folder / "g.pb").write_bytes(made.SerializeToString())
    return folder / "g.pb"


def missing_file(folder: Path) -> Any:
    return gr.load(folder / "nowhere")


def missing_meta(folder: Path) -> Any:
    return gr.load(copied(folder, ".index", ".data-00000-of-00001"))


def missing_index(folder: Path) -> Any:
    return gr.Checkpoint(copied(folder, ".meta", ".data-00000-of-00001"))


def missing_data(folder: Path) -> Any:
    return gr.load(copied(folder, ".meta", ".index"))


def index_for_a_model(folder: Path) -> Any:
    return gr.load(f"{copied(folder)}.index")


def data_for_a_model(folder: Path) -> Any:
    return gr.load(f"{copied(folder)}.data-00000-of-00001")


def empty_folder(folder: Path) -> Any:
    return gr.load(folder)


def text_named_pb(folder: Path) -> Any:
    (folder / "notes.pb").write_text("Dear diary, today I trained a model.\n")
    return gr.load(folder / "notes.pb")


def truncated_meta(folder: Path) -> Any:
    prefix = copied(folder)
    data = Path(f"{prefix}.meta").read_bytes()
    Path(f"{prefix}.meta").write_bytes(data[: len(data) // 2])
    return gr.load(prefix)


def truncated_index(folder: Path) -> Any:
    prefix = copied(folder)
    data = Path(f"{prefix}.index").read_bytes()
    Path(f"{prefix}.index").write_bytes(data[:-20])
    return gr.load(prefix)


def truncated_data(folder: Path) -> Any:
    prefix = copied(folder)
    data = Path(f"{prefix}.data-00000-of-00001").read_bytes()
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data[:-3])
    return gr.load(prefix)


def flipped_bit(folder: Path) -> Any:
    prefix = copied(folder)
    data = bytearray(Path(f"{prefix}.data-00000-of-00001").read_bytes())
    data[5] ^= 4
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    return gr.Checkpoint(prefix).verify()


def missing_shard(folder: Path) -> Any:
    for path in (FIXTURES / "v2_sharded").iterdir():
        if not path.name.endswith("00001-of-00002"):
            shutil.copy(path, folder / path.name)
    return gr.load(folder / "model.ckpt")


def unknown_tensor(_: Path) -> Any:
    return gr.load(CUBIC).run("activation_op:0", {"x": 1.0})


def unknown_output(_: Path) -> Any:
    return gr.load(CUBIC).run("activation_opt:3", {"x": 1.0})


def unknown_variable(_: Path) -> Any:
    return gr.load(CUBIC).variables["Variabel_1"]


def unknown_signature(_: Path) -> Any:
    return gr.load(MODELS / "digits_saved_model")(1, signature="clasify")


def unknown_model(_: Path) -> Any:
    return gr.Rack({"price": CUBIC})["prices"]


def unknown_value(_: Path) -> Any:
    return gr.Checkpoint(CUBIC)["Variable_99"]


def several_outputs(folder: Path) -> Any:
    path = graph(folder, ("Placeholder", "x", []), ("Neg", "minus", ["x"]), ("Abs", "size", ["x"]))
    return gr.load(path)(1.0)


def wrong_dtype(_: Path) -> Any:
    return gr.load(CUBIC)(x="fifty")


def wrong_shape(_: Path) -> Any:
    return gr.load(MODELS / "digits_mlp_0" / "model_name")(x=np.zeros((2, 65), np.float32))


def unfed(_: Path) -> Any:
    return gr.load(CUBIC).run("activation_opt:0")


def fed_twice(_: Path) -> Any:
    return gr.load(CUBIC).run("activation_opt:0", {"x": 1.0, "x:0": 2.0})


def other_variables(folder: Path) -> Any:
    gr.save_checkpoint(folder / "other", {"Variable": np.zeros((2, 2), np.float32)})
    return gr.load(CUBIC).restore(folder / "other")


def no_values(folder: Path) -> Any:
    return gr.load(f"{copied(folder, '.meta')}.meta")(1.0)


def cycle(folder: Path) -> Any:
    return gr.load(graph(folder, ("Neg", "a", ["b"]), ("Neg", "b", ["a"]))).run("a")


def same_name(folder: Path) -> Any:
    return gr.load(graph(folder, ("Placeholder", "x", []), ("Placeholder", "x", []))).run("x")


def dangling(folder: Path) -> Any:
    return gr.load(graph(folder, ("Placeholder", "input", []), ("Neg", "a", ["inputs"]))).run("a")


def unknown_ops(folder: Path) -> Any:
    path = graph(folder, ("MakeTea", "tea", []), ("MakeTea", "more", []), ("PourMilk", "milk", []),
                 ("Mul", "cup", ["tea", "milk"]), ("Mul", "two", ["cup", "more"]))  # fmt: skip
    return gr.load(path).run("two")


def failing_op(_: Path) -> Any:
    return gr.load(CUBIC).run("cost:0", {"activation_opt:0": [1.0, 2.0], "y:0": [1.0, 2.0, 3.0]})


def failing_models(_: Path) -> Any:
    return gr.Rack({"fits": CUBIC, "does not": MODELS / "digits_conv"}).run_all({"x": 1.0})


CASES: list[tuple[Callable[[Path], Any], type[Exception], type[BaseException], list[str]]] = [
    (missing_file, gr.FileError, OSError, ["nowhere", "does not exist"]),
    (missing_meta, gr.FileError, OSError, ["m.meta", "gr.Checkpoint(", "gr.load('graph.pb', checkpoint="]),
    (missing_index, gr.FileError, OSError, ["m.index"]),
    (missing_data, gr.FileError, OSError, ["m.data-00000-of-00001", "missing"]),
    (index_for_a_model, gr.FileError, OSError, ["m.index", "is the index of a checkpoint", "gr.load("]),
    (data_for_a_model, gr.FileError, OSError, ["m.data-00000-of-00001", "gr.load("]),
    (empty_folder, gr.FileError, OSError, ["`checkpoint`", "saved_model.pb", "empty"]),
    (text_named_pb, gr.CorruptFile, ValueError, ["notes.pb"]),
    (truncated_meta, gr.CorruptFile, ValueError, ["m.meta"]),
    (truncated_index, gr.CorruptCheckpoint, ValueError, ["m.index"]),
    (truncated_data, gr.CorruptCheckpoint, ValueError, ["m.data-00000-of-00001"]),
    (flipped_bit, gr.CorruptCheckpoint, ValueError, ["m.data-00000-of-00001", "Variable", "offset"]),
    (missing_shard, gr.FileError, OSError, ["data-00001-of-00002", "missing"]),
    (unknown_tensor, gr.UnknownName, KeyError, ["'model_name'", "'activation_op:0'", "closest: 'activation_opt:0'"]),
    (unknown_output, gr.UnknownName, KeyError, ["'activation_opt:3'", "has 1 output, the last ':0'"]),
    (unknown_variable, gr.UnknownName, KeyError, ["'Variabel_1'", "closest: ", "'Variable_1'"]),
    (unknown_signature, gr.UnknownName, KeyError, ["'clasify'", "closest: 'classify'"]),
    (unknown_model, gr.UnknownName, KeyError, ["'prices'", "closest: 'price'"]),
    (unknown_value, gr.UnknownName, KeyError, ["'Variable_99'", "closest: "]),
    (several_outputs, gr.AmbiguousOutput, ValueError, ["'minus:0'", "'size:0'", "run('name:0', feeds)"]),
    (wrong_dtype, gr.FeedError, ValueError, ["'x:0' takes float32", "string", "convert them"]),
    (wrong_shape, gr.FeedError, ValueError, ["'x:0' takes shape [?, 64]", "[2, 65]"]),
    (unfed, gr.FeedError, ValueError, ["must be fed: 'x:0'", "activation_opt:0"]),
    (fed_twice, gr.FeedError, ValueError, ["'x:0' is fed twice", "feed it once"]),
    (other_variables, gr.RestoreError, ValueError,
     ["'Variable' has shape [2,2] there", "'Variable_1' is not in it", "nothing was restored", "strict=False"]),
    (no_values, gr.UninitializedError, RuntimeError, ["'Variable', 'Variable_1'", "restore(checkpoint)", "initialize()"]),
    (cycle, gr.GraphError, ValueError, ["a cycle through", "'a'", "'b'"]),
    (same_name, gr.GraphError, ValueError, ["two nodes of the graph are called 'x'", "must differ"]),
    (dangling, gr.GraphError, ValueError, ["'a' (Neg) takes 'inputs'", "closest: 'input'", "incomplete"]),
    (unknown_ops, gr.UnsupportedOp, NotImplementedError, ["lacks 2 ops", "MakeTea ('", "'more'", "PourMilk ('milk')"]),
    (failing_op, gr.OpError, RuntimeError, ["node '", "failed", "[2]", "[3]"]),
    (failing_models, gr.RackErrors, gr.RackErrors.__bases__[0], ["1 of 2 models failed: 'does not'", ".results"]),
]  # fmt: skip


@pytest.mark.parametrize(("cause", "error", "builtin", "words"), CASES, ids=[case[0].__name__ for case in CASES])
def test_each_mistake_gives_its_error_and_says_what_it_owes(
    cause: Callable[[Path], Any], error: type[Exception], builtin: type[BaseException], words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(error) as caught:
        cause(tmp_path)
    assert type(caught.value) is error
    assert isinstance(caught.value, builtin)
    assert isinstance(caught.value, gr.GraphrackError)
    text = str(caught.value)
    for word in words:
        assert word in text
    assert "\n" not in text
    assert str(pickle.loads(pickle.dumps(caught.value))) == text


def test_every_public_error_is_raised_above_or_where_its_part_is_tested() -> None:
    elsewhere = {
        "FallbackWarning",  # engines/tensorflow/test_fallback.py
        "GraphrackError",  # the base of all
        "MissingDependency",  # engines/tensorflow/test_fallback.py
        "PermissionDenied",  # test_model.py: a graph may not save or restore elsewhere
        "UnsupportedSource",  # of savers: what isn't a model, a mapping or a session
    }
    assert set(errors.__all__) - {case[1].__name__ for case in CASES} <= elsewhere


def test_a_failing_rack_keeps_the_results_of_the_others() -> None:
    with pytest.raises(gr.RackErrors) as caught:
        failing_models(Path())
    assert list(caught.value.results) == ["fits"]
    assert [type(error) for error in caught.value.exceptions] == [gr.FeedError] or caught.value.exceptions
    assert caught.value.subgroup(gr.GraphrackError).results == caught.value.results  # type: ignore[union-attr]


def test_a_restore_that_fails_changes_nothing(tmp_path: Path) -> None:
    model = gr.load(CUBIC)
    before = {name: value.copy() for name, value in model.variables.items()}
    gr.save_checkpoint(tmp_path / "other", {"Variable": np.zeros((2, 2), np.float32)})
    with pytest.raises(gr.RestoreError):
        model.restore(tmp_path / "other")
    for name, value in before.items():
        np.testing.assert_array_equal(model.variables[name], value)


@pytest.mark.parametrize(
    ("name", "names", "end"),
    [
        ("wieghts", ["weights", "bias"], "; closest: 'weights'"),
        ("w", ["a/w", "b"], "; closest: 'a/w'"),
        ("zzz", ["b", "a"], "; there are: 'a', 'b'"),
        ("zzz", [], "; there are none"),
        ("zzz", [f"n{i}" for i in range(9)], "; there are: 'n0', 'n1', 'n2', 'n3', 'n4' and 4 more"),
    ],
)
def test_unknown_names_come_with_the_closest_or_with_some(name: str, names: list[str], end: str) -> None:
    assert errors.closest(name, names) == end
