from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from cli.commands import CUBIC, FIXTURES, FROZEN, MODELS, SAVED, call, identity_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from sklearn.datasets import load_digits

import graphrack as gr


def outputs(*arguments: object, model: str | None = None, **options: Any) -> Any:
    models = call("run", *arguments, "--json", **options).json["models"]
    return (next(iter(models.values())) if model is None else models[model])["outputs"]


def images(count: int = 3) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 17, (count, 8, 8)).astype(np.uint8)


def same(found: Any, expected: Any) -> bool:
    expected = np.asarray(expected)
    return (
        found["dtype"] == str(expected.dtype)
        and found["shape"] == list(expected.shape)
        and np.array_equal(np.array(found["value"], expected.dtype).reshape(expected.shape), expected)
    )


@pytest.mark.parametrize("value", ["50", "-1.5", "1e3", ".5", "[1,2,3]", "[[1,2],[3,4]]", "[[]]"])
def test_a_prediction_is_the_library_s(value: str) -> None:
    found = outputs(CUBIC, "--feed", f"x={value}")
    assert list(found) == ["activation_opt"]
    fed = json.loads(value) if value != ".5" else 0.5
    assert same(found["activation_opt"], gr.load(CUBIC, engine="auto")(x=fed))


def test_text_output_has_name_dtype_shape_and_value() -> None:
    text = call("run", CUBIC, "--feed", "x=[50,1]").out
    assert text.splitlines()[0] == "activation_opt  float32 [2]"
    assert str(float(text.splitlines()[1].strip(" []").split(",")[0])) == "-2519.7996"
    assert "float32 scalar\n  -2519.79" in call("run", CUBIC, "--feed", "x=50").out


def test_fetches_are_tensors_operations_and_keys() -> None:
    found = outputs(CUBIC, "-f", "x=3", "--fetch", "activation_opt:0", "--fetch", "Variable", "--fetch", "Variable_1:0")
    model = gr.load(CUBIC, engine="auto")
    assert list(found) == ["activation_opt:0", "Variable", "Variable_1:0"]
    assert same(found["activation_opt:0"], model(x=3))
    assert same(found["Variable"], model.variables["Variable"])
    array = images()
    by_key = outputs(SAVED, "-f", f"images={array.tolist()}", "--fetch", "probabilities")
    assert same(by_key["probabilities"], gr.load(SAVED, engine="auto")(images=array))


def test_an_operation_without_outputs_runs_and_gives_null() -> None:
    arguments = (CUBIC, "-f", "x=1", "-f", "y=2", "--fetch", "train_step")
    assert outputs(*arguments) == {"train_step": None}
    assert call("run", *arguments).out == "train_step  ran\n"


def test_an_operation_with_several_outputs_gives_each(tmp_path: Path) -> None:
    from graphrack.formats.protos.graph_pb2 import GraphDef

    graph = GraphDef.FromString(Path(identity_graph(tmp_path, "float32")).read_bytes())
    graph.node.add(name="parts", op="Unpack", input=["x"])
    graph.node[-1].attr["num"].i = 2
    graph.node[-1].attr["T"].type = 1  # type: ignore[assignment]
    (tmp_path / "g.pb").write_bytes(graph.SerializeToString())
    found = outputs(tmp_path / "g.pb", "-f", "x=[[1,2],[3,4]]", "--fetch", "parts")
    assert {name: one["value"] for name, one in found.items()} == {"parts:0": [1, 2], "parts:1": [3, 4]}


def test_a_signature_is_chosen(tmp_path: Path) -> None:
    array = images()
    np.save(tmp_path / "a.npy", array)
    found = outputs(SAVED, "-s", "classify", "-f", f"images=@{tmp_path / 'a.npy'}")
    expected = gr.load(SAVED, engine="auto")(images=array, signature="classify")
    assert same(found["class"], expected["class"])
    assert same(found["score"], expected["score"])
    one = outputs(SAVED, "-s", "classify", "-f", f"images=@{tmp_path / 'a.npy'}", "--fetch", "score")
    assert one == {"score": found["score"]}
    wrong = call("run", SAVED, "-s", "clasify", "-f", f"images=@{tmp_path / 'a.npy'}", code=1)
    assert "'classify'" in wrong.failure
    assert "'classify'" in call("run", SAVED, "-s", "clasify", "--fetch", "x", code=1).failure


def test_feeds_from_files(tmp_path: Path) -> None:
    array = images()
    expected = gr.load(SAVED, engine="auto")(images=array)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "one.npz", anything=array)
    np.savez_compressed(tmp_path / "two.npz", **{"a": array[:1], "b": array, "model/x:0": array})
    (tmp_path / "a.json").write_text(json.dumps(array.tolist()))
    for file in ("a.npy", "one.npz", "two.npz:b", "two.npz:model/x:0", "a.json"):
        assert same(outputs(SAVED, "-f", f"images=@{tmp_path / file}")["probabilities"], expected)
    stdin = json.dumps(array.tolist())
    assert same(outputs(SAVED, "-f", "images=@-", stdin=stdin)["probabilities"], expected)


def test_a_whole_data_set_gives_the_answers_of_tensorflow(tmp_path: Path) -> None:
    with np.load(MODELS / "expected.npz") as arrays:
        expected = {name: arrays[name] for name in ("digits_saved_model", "digits_frozen.pb")}
    images = load_digits().images[-360:]
    np.savez(tmp_path / "digits.npz", raw=images.astype(np.uint8), scaled=images[..., None].astype(np.float32) / 16)
    feeds = {"digits_saved_model": "images=@digits.npz:raw", "digits_frozen.pb": "input=@digits.npz:scaled"}
    for name, feed in feeds.items():
        call("run", MODELS / name, "-f", feed.replace("@", f"@{tmp_path}/"), "-o", tmp_path / "y.npy")
        assert np.allclose(np.load(tmp_path / "y.npy"), expected[name], atol=1e-5)


@settings(max_examples=60)
@given(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=3),
        elements=st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_numbers_come_back_as_they_were_fed(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray[Any, Any]
) -> None:
    graph = identity_graph(tmp_path_factory.getbasetemp(), np.float64)
    found = outputs(graph, "-f", f"x={json.dumps(array.tolist())}")["y"]
    assert found == {"dtype": "float64", "shape": list(array.shape), "value": array.tolist()}


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize(
    ("mode", "shape", "expected"),
    [
        ("RGB", None, (5, 4, 3)),
        ("RGB", (None, None, None, 3), (1, 5, 4, 3)),
        ("RGB", (5, 4, 3), (5, 4, 3)),
        ("L", None, (5, 4)),
        ("L", (None, 5, 4), (1, 5, 4)),
        ("L", (None, 5, 4, 1), (1, 5, 4, 1)),
        ("L", (5, 4, 1), (5, 4, 1)),
    ],
)
def test_pictures_are_uint8_and_get_the_dimensions_of_1_that_an_input_has(
    tmp_path: Path, mode: str, shape: tuple[int | None, ...] | None, expected: tuple[int, ...], ending: str
) -> None:
    file = tmp_path / f"p.{ending}"
    pixels = np.random.default_rng(1).integers(0, 256, (5, 4, 3) if mode == "RGB" else (5, 4)).astype(np.uint8)
    Image.fromarray(pixels).save(file)
    decoded = np.asarray(Image.open(file))
    found = outputs(identity_graph(tmp_path, np.uint8, shape), "-f", f"x=@{file}")["y"]
    assert same(found, decoded.reshape(expected))
    assert ending == "jpg" or np.array_equal(decoded, pixels)


def test_pictures_with_palettes_masks_and_deep_pixels(tmp_path: Path) -> None:
    graph = identity_graph(tmp_path, np.uint8)
    picture = Image.fromarray(np.arange(60, dtype=np.uint8).reshape(5, 4, 3))
    for mode, shape in (("P", [5, 4, 3]), ("1", [5, 4]), ("RGBA", [5, 4, 4]), ("LA", [5, 4, 4])):
        picture.convert(mode).save(tmp_path / "p.png")
        assert outputs(graph, "-f", f"x=@{tmp_path / 'p.png'}")["y"]["shape"] == shape
    Image.fromarray(np.zeros((5, 4), np.uint16)).save(tmp_path / "deep.png")
    assert "8 bits" in call("run", graph, "-f", f"x=@{tmp_path / 'deep.png'}", code=1).failure


def test_text_is_text_and_quotes_force_it(tmp_path: Path) -> None:
    graph = identity_graph(tmp_path, object)
    (tmp_path / "t.txt").write_bytes("été\n".encode())

    def fed(value: str) -> Any:
        found = outputs(graph, "-f", f"x={value}")["y"]
        assert found["dtype"] == "string"
        return found["value"]

    assert fed("hello world") == "hello world"
    assert fed('"50"') == "50"
    assert fed('"@home"') == "@home"
    assert fed("a=b") == "a=b"
    assert fed("") == ""
    assert fed('["a", ["b"]]'.replace('["b"]', '"b"')) == ["a", "b"]
    assert fed(f"@{tmp_path / 't.txt'}") == "été"
    assert "string" in call("run", graph, "-f", "x=50", code=1).failure
    text = call("run", graph, "-f", 'x=["a", "b\\u001b"]').out
    assert '["a", "b\\\\x1b"]' in text


def test_strings_that_are_no_utf8_are_base64(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe")
    assert outputs(identity_graph(tmp_path, object), "-f", f"x=@{tmp_path / 'b.txt'}")["y"]["value"] == {
        "base64": "//4="
    }


def test_numbers_that_json_lacks(tmp_path: Path) -> None:
    found = outputs(identity_graph(tmp_path, np.float32), "-f", "x=[NaN, Infinity, -Infinity, 0.5]")["y"]["value"]
    assert found == ["NaN", "Infinity", "-Infinity", 0.5]
    assert np.array_equal(np.array(found, np.float32), [math.nan, math.inf, -math.inf, 0.5], equal_nan=True)
    assert outputs(identity_graph(tmp_path, np.float64), "-f", "x=-inf")["y"]["value"] == "-Infinity"
    np.save(tmp_path / "c.npy", np.array([1 + 2j, complex(math.nan, -1)]))
    found = outputs(identity_graph(tmp_path, np.complex128), "-f", f"x=@{tmp_path / 'c.npy'}")["y"]["value"]
    assert found == [{"real": 1.0, "imag": 2.0}, {"real": "NaN", "imag": -1.0}]


@pytest.mark.parametrize("dtype", ["int8", "uint64", "int64", "bool", "float16", "float64", ml_dtypes.bfloat16])
def test_every_dtype_comes_back_as_numbers(tmp_path: Path, dtype: Any) -> None:
    found = outputs(identity_graph(tmp_path, dtype), "-f", "x=true" if dtype == "bool" else "x=[1, 0, 1]")["y"]
    assert found["dtype"] == np.dtype(dtype).name
    assert found["value"] in (True, [1, 0, 1])


def test_several_models_give_results_by_name() -> None:
    paths = {"new": CUBIC, "old": CUBIC + "-20000"}
    models = call("run", *(f"{n}={p}" for n, p in paths.items()), "-f", "x=[1,50]", "--json").json["models"]
    assert list(models) == ["new", "old"]
    for name, path in paths.items():
        assert models[name]["path"] == path
        assert same(models[name]["outputs"]["activation_opt"], gr.load(path, engine="auto")(x=[1, 50]))
    text = call("run", *(f"{n}={p}" for n, p in paths.items()), "-f", "x=1").out
    assert text.startswith("new\n  activation_opt  float32 scalar\n")
    assert "\nold\n" in text


def test_names_come_from_files_and_must_differ(tmp_path: Path) -> None:
    assert list(call("run", CUBIC + ".meta", "-f", "x=1", "--json").json["models"]) == ["model_name"]
    outcome = call("run", CUBIC, str(MODELS / "digits_conv" / "model_name"), code=2)
    assert "two models are called 'model_name'" in outcome.err.replace("\n", " ")
    for wrong in ("a=", "=b"):
        assert "NAME=PATH" in call("run", wrong, code=2).err
    folder = tmp_path / "a=b"
    folder.mkdir()
    graph = identity_graph(folder, "float32")
    assert list(call("run", graph, "-f", "x=1", "--json").json["models"]) == ["graph.pb"]


def test_one_failing_model_does_not_keep_the_others_from_running(tmp_path: Path) -> None:
    arguments = ("run", f"good={CUBIC}", f"bad={FROZEN}", f"gone={tmp_path / 'none'}", "-f", "x=1")
    outcome = call(*arguments, code=1)
    assert outcome.out.startswith("good\n  activation_opt")
    assert "2 of 3 models failed: model 'bad'" in outcome.failure
    assert "does not exist" in outcome.failure
    outcome = call(*arguments, "--json", "-o", tmp_path / "o.npz", code=1)
    models = outcome.json["models"]
    assert models["good"]["error"] is None
    assert models["bad"]["outputs"] is None
    assert "'input'" in models["bad"]["error"]
    assert outcome.json["output"] is None
    assert "o.npz was not written" in outcome.failure
    assert not (tmp_path / "o.npz").exists()


def test_values_from_another_checkpoint() -> None:
    found = outputs(CUBIC + ".meta", "-c", CUBIC + "-20000", "-f", "x=50")["activation_opt"]
    assert same(found, gr.load(CUBIC + "-20000", engine="auto")(x=50))
    assert not same(found, gr.load(CUBIC, engine="auto")(x=50))


def test_results_are_written_by_name(tmp_path: Path) -> None:
    array = images()
    np.save(tmp_path / "a.npy", array)
    feed = ("-f", f"images=@{tmp_path / 'a.npy'}")
    expected = gr.load(SAVED, engine="auto")(images=array, signature="classify")
    call("run", SAVED, "-s", "classify", *feed, "-o", tmp_path / "o.npz")
    with np.load(tmp_path / "o.npz") as found:
        assert {k: found[k].tolist() for k in found.files} == {k: v.tolist() for k, v in expected.items()}
    outcome = call("run", SAVED, *feed, "-o", tmp_path / "o.npy")
    assert "written to" in outcome.out
    assert np.array_equal(np.load(tmp_path / "o.npy"), gr.load(SAVED, engine="auto")(images=array))
    call("run", f"a={SAVED}", f"b={SAVED}", *feed, "-o", tmp_path / "two.npz")
    with np.load(tmp_path / "two.npz") as found:
        assert found.files == ["a/probabilities", "b/probabilities"]
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "o.npy", "o.npz", "two.npz"]


def test_strings_and_narrow_floats_are_written_as_numpy_has_them(tmp_path: Path) -> None:
    call("run", identity_graph(tmp_path, object), "-f", 'x=["a","bcd"]', "-o", tmp_path / "s.npy")
    assert np.load(tmp_path / "s.npy").tolist() == [b"a", b"bcd"]
    call("run", identity_graph(tmp_path, ml_dtypes.bfloat16), "-f", "x=[1.5]", "-o", tmp_path / "f.npy")
    assert np.load(tmp_path / "f.npy").dtype == np.float32
    (tmp_path / "z.txt").write_bytes(b"a\0")
    graph = identity_graph(tmp_path, object)
    outcome = call("run", graph, "-f", f"x=@{tmp_path / 'z.txt'}", "-o", tmp_path / "z.npy", code=1)
    assert "zero bytes" in outcome.failure
    assert not (tmp_path / "z.npy").exists()


def test_outputs_that_cannot_be_written_are_refused_before_the_run(tmp_path: Path) -> None:
    assert ".npz" in call("run", CUBIC, "-f", "x=1", "-o", tmp_path / "o.csv", code=2).err
    assert "no folder" in call("run", CUBIC, "-f", "x=1", "-o", tmp_path / "none" / "o.npy", code=1).failure
    two = call("run", CUBIC, "-f", "x=1", "--fetch", "x", "--fetch", "Variable", "-o", tmp_path / "o.npy", code=1)
    assert "one array, and there are 2" in two.failure


@pytest.mark.parametrize(
    "wrong", ["x", "=5", "x=[1,2", 'x="a', "x=null", "x=[1,null]", 'x={"a":1}', "x=@a.csv", "x=@a"]
)
def test_feeds_that_cannot_be_understood_are_wrong_usage(wrong: str) -> None:
    outcome = call("run", CUBIC, "-f", wrong, code=2)
    assert outcome.out == ""
    assert "--feed" in outcome.err


def test_feeds_given_twice_are_wrong_usage() -> None:
    assert "twice" in call("run", CUBIC, "-f", "x=1", "-f", "x=2", code=2).err
    assert "stdin" in call("run", CUBIC, "-f", "x=@-", "-f", "y=@-", code=2, stdin="1").err
    call("run", CUBIC, code=1)
    call("run", code=2)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.npy", b"hello", "no .npy"),
        ("a.npy", b"", "no .npy"),
        ("a.npz", b"PK\x03\x04hello", "no .npz"),
        ("a.json", b"[1,", "no JSON"),
        ("a.json", b"\xff", "no JSON"),
        ("a.json", b"[" * 100_000, "no JSON"),
        ("a.json", b"{}", "an object"),
        ("a.png", b"hello", "no picture"),
        ("a.jpg", b"\xff\xd8\xff", "no picture"),
    ],
)
def test_files_that_are_damaged_are_one_line(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in call("run", CUBIC, "-f", f"x=@{tmp_path / name}", code=1).failure


def test_files_that_are_not_what_was_meant_are_one_line(tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", alpha=1, beta=2)
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "folder.npy").mkdir()
    for value, words in (
        ("two.npz", "'alpha', 'beta'"),
        ("two.npz:alhpa", "'alpha'"),
        ("thre.npz", "'two.npz'"),
        ("pickled.npy", "no .npy"),
        ("folder.npy", "directory"),
    ):
        assert words in call("run", CUBIC, "-f", f"x=@{tmp_path / value}", code=1).failure


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([FROZEN, "-f", "inptu=1"], "'input'"),
        ([FROZEN, "-f", "input=[1]"], "takes shape [?, 8, 8, 1]"),
        ([FROZEN, "-f", "input=text"], "takes float32"),
        ([CUBIC], "'x'"),
        ([CUBIC, "--fetch", "activation", "-f", "x=1"], "'activation_opt'"),
        ([CUBIC + ".index"], CUBIC),
        ([CUBIC, "--tags", "serve"], "only SavedModels"),
        ([CUBIC, "-c", CUBIC + "-1"], "model_name-20000"),
        ([FIXTURES / "v2_dtypes" / "model.ckpt"], "without a graph"),
    ],
)
def test_what_the_library_refuses_is_one_line(arguments: list[object], words: str) -> None:
    assert words in call("run", *arguments, code=1).failure
