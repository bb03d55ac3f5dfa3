from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from cli.commands import CONV, CUBIC, FROZEN, MODELS, SAVED, call

import graphrack as gr
from graphrack.formats.protos.graph_pb2 import GraphDef
from graphrack.formats.tensor import tensor_to_proto


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    a = {"same": np.ones(2), "w": np.array([3.0, 4.0]), "gone": np.ones(1), "shape": np.ones(2), "type": np.ones(2)}
    b = {"same": np.ones(2), "w": np.array([3.0, 0.0]), "new": np.ones(1), "shape": np.ones(3)}
    b["type"] = np.ones(2, np.float32)
    return gr.save_checkpoint(tmp_path / "a", a), gr.save_checkpoint(tmp_path / "b", b)


def test_tensors_that_differ_are_a_table(pair: tuple[str, str]) -> None:
    lines = [line.split() for line in call("diff", *pair).out.splitlines()]
    assert " ".join(lines[0]) == "Tensors: 1 equal, 1 changed, 1 retyped, 1 reshaped, 1 added, 1 gone"
    rows = {line[1]: line for line in lines[2:]}
    assert rows["w"] == ["changed", "w", "float64", "[2]", "1", "of", "2", "4", "0.8", "0.600000"]
    assert rows["gone"] == ["gone", "gone", "float64", "[1]"]
    assert rows["new"] == ["added", "new", "float64", "[1]"]
    assert rows["shape"] == ["reshaped", "shape", "float64", "[2]", "→", "[3]"]
    assert rows["type"][:5] == ["retyped", "type", "float64", "→", "float32"]
    assert len(rows) == 5


def test_json_has_all_of_it(pair: tuple[str, str]) -> None:
    found = call("diff", *pair, "--json").json
    assert (found["a"], found["b"], found["equal"], found["graph"]) == (*pair, False, None)
    assert found["tensors"]["counts"] == {
        "equal": 1,
        "within_tolerance": 0,
        "changed": 1,
        "retyped": 1,
        "reshaped": 1,
        "added": 1,
        "gone": 1,
    }
    (w,) = [c for c in found["tensors"]["changes"] if c["name"] == "w"]
    assert w["a"] == w["b"] == {"dtype": "float64", "shape": [2]}
    measures = w["difference"]
    assert (measures["elements"], measures["different"], measures["max_abs"]) == (2, 1, 4.0)
    assert (measures["relative"], measures["cosine"]) == (pytest.approx(0.8), pytest.approx(0.6))


def test_numbers_that_json_lacks_are_text(tmp_path: Path) -> None:
    a = gr.save_checkpoint(tmp_path / "a", {"n": [np.nan, 1.0], "z": [0.0]})
    b = gr.save_checkpoint(tmp_path / "b", {"n": [2.0, 1.0], "z": [1.0]})
    n, z = (c["difference"] for c in call("diff", a, b, "--json").json["tensors"]["changes"])
    assert (n["max_abs"], z["relative"], z["cosine"]) == ("NaN", "Infinity", None)
    assert "NaN" in call("diff", a, b).out


def test_a_tolerance_makes_small_changes_equal(tmp_path: Path) -> None:
    a = gr.save_checkpoint(tmp_path / "a", {"w": np.array([1.0]), "s": np.array([b"x"], object), "n": [np.nan]})
    b = gr.save_checkpoint(tmp_path / "b", {"w": np.array([1.25]), "s": np.array([b"x"], object), "n": [np.nan]})
    assert "w" in call("diff", a, b, "--tolerance", "0.2").out.split()
    found = call("diff", a, b, "--tolerance", "0.25", "--json").json
    assert found["equal"]
    assert found["tensors"]["counts"]["within_tolerance"] == 1
    assert call("diff", a, b, "--tolerance", "0.25").out == "Tensors: 2 equal, 1 within 0.25\n"
    call("diff", a, b, "--tolerance=-1", code=2)
    call("diff", a, b, "--tolerance", "nan", code=2)


def test_exit_codes_are_those_of_diff_if_asked_for(pair: tuple[str, str], tmp_path: Path) -> None:
    call("diff", *pair, code=0)
    call("diff", *pair, "--exit-code", code=1)
    call("diff", pair[0], pair[0], "--exit-code", code=0)
    assert "there is no checkpoint" in call("diff", pair[0], tmp_path / "no", code=1).failure
    outcome = call("diff", pair[0], tmp_path / "no", "--exit-code", code=2)
    assert outcome.err.startswith("graphrack: there is no checkpoint")


def test_names_are_chosen(pair: tuple[str, str]) -> None:
    assert call("diff", *pair, "--select", "[sn]*", "--exclude", "new").out.splitlines()[0] == (
        "Tensors: 1 equal, 1 reshaped"
    )


def test_kinds_of_files_with_tensors_are_compared_with_each_other(tmp_path: Path) -> None:
    for name in ("m.npz", "m.safetensors"):
        gr.convert(CUBIC, tmp_path / name)
        assert call("diff", CUBIC, tmp_path / name).out == "Tensors: 14 equal\n"
    assert call("diff", tmp_path / "m.npz", MODELS / "cubic", "--json").json["equal"]


def test_damage_is_named(pair: tuple[str, str]) -> None:
    data = Path(pair[0] + ".data-00000-of-00001")
    data.write_bytes(b"\x01" + data.read_bytes()[1:])
    assert "tensor 'gone' at offset 0" not in call("diff", *pair, "--select", "same").err
    data.write_bytes(bytes(len(data.read_bytes())))
    assert "checksum" in call("diff", *pair, "--select", "same", code=1).failure


def test_graphs_of_two_files_are_compared() -> None:
    meta = CUBIC + ".meta"
    assert call("diff", meta, CUBIC + "-20000.meta").out == "Nodes: 220 equal\n"
    first, second = (str(MODELS / f"digits_mlp_{i}" / "model_name.meta") for i in (0, 1))
    found = call("diff", first, second, "--json").json
    assert not found["equal"]
    assert found["tensors"] is None
    assert {n["name"] for n in found["graph"]["nodes"]} == {
        "truncated_normal/TruncatedNormal",
        "truncated_normal_1/TruncatedNormal",
    }
    assert found["graph"]["nodes"][1]["attributes"]["seed"] == {"a": "0", "b": "1", "difference": None}
    assert "Nodes: 383 added, 75 gone" in call("diff", FROZEN, f"{CONV}/model_name.meta").out


def constant(path: Path, value: object, **inputs: list[str]) -> str:
    made = GraphDef()
    node = made.node.add(name="c", op="Const")
    node.attr["dtype"].type = 1
    node.attr["value"].tensor.CopyFrom(tensor_to_proto(np.asarray(value, np.float32)))
    for name, names in inputs.items():
        made.node.add(name=name, op="Identity", input=names)
    path.write_bytes(made.SerializeToString())
    return str(path)


def test_constants_are_compared_as_numbers(tmp_path: Path) -> None:
    a, b = constant(tmp_path / "a.pb", [3, 4], y=["c"]), constant(tmp_path / "b.pb", [3, 0], y=["^c"])
    text = call("diff", a, b).out
    assert "float32 [2]: 1 of 2 differ, max abs 4, relative 0.8, cosine 0.600000" in text
    assert "c → ^c" in text
    assert call("diff", a, b, "--select", "c", "--tolerance", "4").out == "Nodes: 1 equal\n"
    c = constant(tmp_path / "c.pb", [[1]])
    (node,) = call("diff", a, c, "--select", "c", "--json").json["graph"]["nodes"]
    assert node["attributes"]["value"] == {"a": "float32 [2]", "b": "float32 [1, 1]", "difference": None}


def test_of_saved_models_graph_and_variables_are_compared(tmp_path: Path) -> None:
    folder = shutil.copytree(SAVED, tmp_path / "saved")
    found = call("diff", SAVED, folder / "saved_model.pb", "--tags", "serve", "--json").json
    assert found["equal"]
    assert found["tensors"]["counts"]["equal"] == 20
    assert found["graph"]["equal_nodes"] == len(gr.load(SAVED).operations)


def test_what_has_nothing_in_common_is_said() -> None:
    failure = call("diff", FROZEN, CUBIC, code=1).failure
    assert f"{FROZEN} holds a graph, {CUBIC} holds tensors" in failure
    assert "give its prefix" in call("diff", CUBIC + ".index", CUBIC, code=1).failure
