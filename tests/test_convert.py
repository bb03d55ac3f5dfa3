"""Tensors from one kind of file into another: TensorFlow, safetensors and NumPy read what is written."""

from __future__ import annotations

import io
import json
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import tensorflow.compat.v1 as tf
from fixture_paths import FIXTURES, MODELS
from hypothesis import given, settings
from hypothesis import strategies as st

import graphrack as gr
from graphrack.formats.dtypes import DTYPES
from graphrack.formats.npz import NpzReader
from graphrack.formats.safetensors import DTYPE_OF, SafetensorsReader

CUBIC = str(MODELS / "cubic" / "model_name")
NUMBERS = [d for d in DTYPES.values() if d.itemsize]
IN_SAFETENSORS = [d.name for d in DTYPE_OF.values()]


def sample(dtype: gr.DType, shape: tuple[int, ...] = (3, 5), seed: int = 0) -> np.ndarray[Any, Any]:
    """Any bit patterns of a dtype: NaNs, infinities and subnormal numbers as well."""
    size = int(np.prod(shape))
    if dtype.name == "bool":
        return np.random.default_rng(seed).integers(0, 2, shape).astype(np.bool_)
    if dtype.name in ("int2", "uint2", "int4", "uint4", "float4_e2m1fn"):
        return np.random.default_rng(seed).integers(0, 2, shape).astype(dtype.numpy)
    raw = np.random.default_rng(seed).integers(0, 256, size * dtype.itemsize, np.uint8)
    return raw.view(dtype.numpy).reshape(shape)


def assert_same(a: Any, b: Any) -> None:
    """Equal names, dtypes, shapes and bits."""
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].shape == b[name].shape, name
        if a[name].dtype.kind == "O":
            assert a[name].tolist() == b[name].tolist(), name
        else:
            assert a[name].tobytes() == b[name].tobytes(), name


def values(prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    with gr.Checkpoint(prefix) as checkpoint:
        return {name: np.array(checkpoint[name]) for name in sorted(checkpoint)}


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("ending", [".safetensors", ".npz"])
def test_every_dtype_comes_back_bit_by_bit(dtype: gr.DType, ending: str, tmp_path: Path) -> None:
    arrays = {"scope/w": sample(dtype), "scalar": sample(dtype, ()), "none": sample(dtype, (0, 4))}
    source = gr.save_checkpoint(tmp_path / "a", arrays)
    file = str(tmp_path / f"m{ending}")
    if ending == ".safetensors" and dtype.name not in IN_SAFETENSORS:
        with pytest.raises(gr.UnsupportedOp, match=rf"3 of 3 tensors: 'none' \({dtype}\).*'scope/w'.*\.npz"):
            gr.convert(source, file)
        assert sorted(os.listdir(tmp_path)) == ["a.data-00000-of-00001", "a.index"]
        return
    done = gr.convert(source, file)
    assert done == (file, ending[1:], 3, 16 * dtype.itemsize, None)
    back = gr.convert(file, tmp_path / "b")
    assert back[1:4] == ("checkpoint", 3, done.bytes)
    assert_same(values(source), values(back.path))


def test_safetensors_reads_every_dtype_that_is_written(tmp_path: Path) -> None:
    arrays = {f"s/{name}": sample(dtype) for name in IN_SAFETENSORS for dtype in NUMBERS if dtype.name == name}
    file = tmp_path / "m.safetensors"
    gr.convert(gr.save_checkpoint(tmp_path / "a", arrays), file)
    found = dict(safetensors.deserialize(file.read_bytes()))
    assert set(found) == set(arrays)
    for name, value in arrays.items():
        assert list(found[name]["shape"]) == [3, 5]
        assert bytes(found[name]["data"]) == value.tobytes(), name
    with safetensors.safe_open(file, framework="numpy") as opened:
        np.testing.assert_array_equal(opened.get_tensor("s/float64"), arrays["s/float64"])


def test_a_safetensors_file_is_byte_by_byte_what_the_package_writes(tmp_path: Path) -> None:
    arrays = {"b": np.arange(3, dtype=np.int32), "a/w": np.ones((2, 2)), "c": np.array(True), "a/v": np.zeros(1)}
    file = tmp_path / "m.safetensors"
    gr.convert(gr.save_checkpoint(tmp_path / "a", arrays), file)
    assert file.read_bytes() == safetensors.numpy.save(arrays)
    assert file.read_bytes()[:90].startswith(
        b'\xe0\0\0\0\0\0\0\0{"a/v":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}'
    )


def test_what_the_package_writes_is_read(tmp_path: Path) -> None:
    arrays = {"w": np.arange(6, dtype=np.float16).reshape(2, 3), "n": np.array(7), "z": np.zeros(2, np.complex64)}
    file = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(arrays, file, metadata={"format": "np"})
    gr.convert(file, tmp_path / "m")
    assert_same(dict(sorted(arrays.items())), values(str(tmp_path / "m")))


def test_dtypes_that_tensorflow_lacks_are_named_when_they_are_asked_for(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"F8_E8M0","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}'
    file = tmp_path / "m.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(3))
    with pytest.raises(gr.UnsupportedOp, match=r"'a' is F8_E8M0"):
        gr.convert(file, tmp_path / "m")
    assert gr.convert(file, tmp_path / "m", select=["b"]).tensors == 1


def test_numpy_reads_what_is_written(tmp_path: Path) -> None:
    arrays = {
        "scope/w": np.arange(6.0).reshape(2, 3),
        "b": np.array([1, 2], ml_dtypes.bfloat16),
        "words": np.array([b"a", b"", b"\x00b"], object),
    }
    file = tmp_path / "m.npz"
    gr.convert(gr.save_checkpoint(tmp_path / "a", arrays), file)
    with np.load(file, allow_pickle=False) as found:
        np.testing.assert_array_equal(found["scope/w"], arrays["scope/w"])
        np.testing.assert_array_equal(found["b"]["bfloat16"].view(ml_dtypes.bfloat16), arrays["b"])
        assert found["words"].tolist() == [b"a", b"", b"\x00b"]
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["b.npy", "scope/w.npy", "words.npy"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(save: Any, tmp_path: Path) -> None:
    arrays = {
        "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "swapped": np.arange(5, dtype=">i4"),
        "text": np.array([["grün", ""]]),
        "zeros": np.zeros(100_000),
    }
    save(tmp_path / "m.npz", **arrays)
    gr.convert(tmp_path / "m.npz", tmp_path / "m")
    found = values(str(tmp_path / "m"))
    np.testing.assert_array_equal(found["columns"], arrays["columns"])
    assert found["swapped"].tolist() == [0, 1, 2, 3, 4]
    assert found["text"].tolist() == [["grün".encode(), b""]]
    assert not found["zeros"].any()


def test_strings_that_an_npz_file_would_change_are_refused(tmp_path: Path) -> None:
    source = gr.save_checkpoint(tmp_path / "a", {"s": np.array([b"a\0"], object), "w": np.ones(2)})
    with pytest.raises(gr.UnsupportedOp, match=r"'s' has strings that end with zero bytes.*--exclude"):
        gr.convert(source, tmp_path / "m.npz")
    long = np.array([b"x" * 1000] + [b""] * 100_000, object)
    source = gr.save_checkpoint(tmp_path / "a", {"s": long})
    with pytest.raises(gr.UnsupportedOp, match=r"100001 strings of 1000 bytes.*100001000 bytes"):
        gr.convert(source, tmp_path / "m.npz")
    assert sorted(os.listdir(tmp_path)) == ["a.data-00000-of-00001", "a.index"]


def test_strings_have_no_place_in_safetensors_and_can_be_left_out(tmp_path: Path) -> None:
    source = gr.save_checkpoint(tmp_path / "a", {"s": np.array(b"a", object), "w": np.ones(2)})
    with pytest.raises(gr.UnsupportedOp, match=r"1 of 2 tensors: 's' \(string\); leave them out"):
        gr.convert(source, tmp_path / "m.safetensors")
    done = gr.convert(source, tmp_path / "m.safetensors", select=lambda name: name != "s")
    assert done.tensors == 1


def test_names_that_a_format_cannot_hold_are_refused(tmp_path: Path) -> None:
    source = gr.save_checkpoint(tmp_path / "a", {"a\0b": np.ones(1)})
    with pytest.raises(gr.UnsupportedOp, match=r"a\\x00b"):
        gr.convert(source, tmp_path / "m.npz")
    gr.convert(source, tmp_path / "m.safetensors")
    source = gr.save_checkpoint(tmp_path / "a", {"__metadata__": np.ones(1), "\udcff": np.ones(1)})
    with pytest.raises(gr.UnsupportedOp, match="__metadata__"):
        gr.convert(source, tmp_path / "m.safetensors")
    with pytest.raises(gr.UnsupportedOp, match="udcff"):
        gr.convert(source, tmp_path / "m.npz", select=["\udcff"])


@pytest.mark.parametrize("folder", ["v1", "v1_sharded", "v2_sharded", "v2"])
def test_any_checkpoint_becomes_a_v2_checkpoint_that_tensorflow_reads(folder: str, tmp_path: Path) -> None:
    source = str(FIXTURES / folder / "model.ckpt")
    done = gr.convert(source, tmp_path / "new" / "m")
    assert_same(values(source), values(done.path))
    reader = tf.train.load_checkpoint(done.path)
    with gr.Checkpoint(source) as old:
        assert set(reader.get_variable_to_shape_map()) == set(old)
        for name in old:
            np.testing.assert_array_equal(reader.get_tensor(name), old[name])
    assert (tmp_path / "new" / "m.index").is_file()
    assert not (tmp_path / "new" / "checkpoint").exists()


def test_the_graph_comes_along_from_checkpoint_to_checkpoint(tmp_path: Path) -> None:
    done = gr.convert(CUBIC, tmp_path / "m")
    assert done.graph == str(tmp_path / "m.meta")
    assert gr.load(tmp_path / "m")(x=50) == gr.load(CUBIC)(x=50)
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.train.import_meta_graph(f"{tmp_path}/m.meta").restore(sess, f"{tmp_path}/m")
        assert sess.run("activation_opt:0", {"x:0": 50}) == pytest.approx(float(gr.load(CUBIC)(x=50)), rel=1e-5)
    part = gr.convert(CUBIC, tmp_path / "part", select="Variable*")
    assert part.tensors == 12


def test_a_v1_checkpoint_is_converted_where_it_lies(tmp_path: Path) -> None:
    source = tmp_path / "model.ckpt"
    source.write_bytes((FIXTURES / "v1" / "model.ckpt").read_bytes())
    before = values(str(source))
    gr.convert(source, source)
    assert (tmp_path / "model.ckpt.index").is_file()
    assert_same(before, values(str(source)))


def test_folders_mean_their_latest_checkpoint_or_their_variables(tmp_path: Path) -> None:
    assert gr.convert(MODELS / "cubic", tmp_path / "a.npz").tensors == 14
    assert gr.convert(MODELS / "digits_saved_model", tmp_path / "b.npz").tensors == 20
    assert gr.convert(MODELS / "digits_saved_model" / "saved_model.pb", tmp_path / "c.npz").tensors == 20


def test_select_takes_globs_names_and_predicates(tmp_path: Path) -> None:
    for select in ("*/Adam", ["Variable/Adam", "Variable_1/Adam", "Variable_2/Adam", "Variable_3/Adam"]):
        assert gr.convert(CUBIC, tmp_path / "m.npz", select=select).tensors == 4
    with pytest.raises(gr.UnknownName, match="'Variabel'.*closest: 'Variable'"):
        gr.convert(CUBIC, tmp_path / "m.npz", select=["Variabel"])
    with pytest.raises(gr.UnknownName, match="chooses none of the 14 tensors"):
        gr.convert(CUBIC, tmp_path / "n.npz", select="w*")
    assert not (tmp_path / "n.npz").exists()


def test_damage_is_found_and_not_converted(tmp_path: Path) -> None:
    source = gr.save_checkpoint(tmp_path / "a", {"w": np.arange(20.0), "x": np.ones(3)})
    data = Path(source + ".data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:30] + b"\x55" + data.read_bytes()[31:])
    for target in ("m.npz", "m.safetensors", "m"):
        with pytest.raises(gr.CorruptCheckpoint, match=r"tensor 'w' at offset 0.*checksum"):
            gr.convert(source, tmp_path / target)
    assert sorted(os.listdir(tmp_path)) == ["a.data-00000-of-00001", "a.index"]


def test_a_failed_conversion_leaves_the_old_file(tmp_path: Path) -> None:
    for ending in ("npz", "safetensors"):
        file = tmp_path / f"m.{ending}"
        gr.convert(CUBIC, file)
        before = file.read_bytes()
        bad = gr.save_checkpoint(tmp_path / "a", {"a": np.ones(3), "s": np.array(b"a\0", object)})
        with pytest.raises(gr.UnsupportedOp):
            gr.convert(bad, file)
        assert file.read_bytes() == before
    with pytest.raises(gr.FileError, match=r"no_folder.*can't be written"):
        gr.convert(CUBIC, tmp_path / "no_folder" / "m.npz")
    assert sorted(os.listdir(tmp_path)) == ["a.data-00000-of-00001", "a.index", "m.npz", "m.safetensors"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for name in ("m.npz", "m.safetensors"):
        with pytest.raises(gr.FileError, match=name):
            gr.convert(tmp_path / name, tmp_path / "m")
        (tmp_path / name).mkdir()
        with pytest.raises(gr.FileError, match="is a folder"):
            gr.convert(tmp_path / name, tmp_path / "m")
    with pytest.raises(gr.FileError, match="there is no checkpoint"):
        gr.convert(tmp_path / "m", tmp_path / "n")


@pytest.mark.parametrize("target", ["m.npz", "m.safetensors", "m"])
def test_no_more_than_a_tensor_is_in_memory(target: str, tmp_path: Path) -> None:
    size = 4_000_000
    source = gr.save_checkpoint(tmp_path / "a", {f"w{i}": np.full(size // 4, i, np.int32) for i in range(12)})
    gr.convert(source, tmp_path / "warm.npz", select="w1")
    calls: list[tuple[int, int]] = []
    for begin in (source, tmp_path / target):
        tracemalloc.start()
        gr.convert(begin, tmp_path / (target if begin == source else "back"), progress=lambda *c: calls.append(c))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2.5 * size, peak
    assert calls[:13] == [(i * size, 12 * size) for i in range(13)]
    assert_same(values(source), values(str(tmp_path / "back")))


arrays_of_any_kind = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20),
    st.builds(
        sample,
        st.sampled_from([d for d in NUMBERS if d.name in IN_SAFETENSORS]),
        st.lists(st.integers(0, 4), max_size=3).map(tuple),
        st.integers(0, 99),
    ),
    max_size=5,
)


@given(arrays_of_any_kind)
@settings(max_examples=40)
def test_any_tensors_go_round_through_all_kinds(tmp_path_factory: pytest.TempPathFactory, arrays: Any) -> None:
    arrays = {name: value for name, value in arrays.items() if name != "__metadata__"}
    folder = tmp_path_factory.mktemp("round")
    at: Any = gr.save_checkpoint(folder / "a", arrays)
    for target in ("1.safetensors", "2.npz", "3.safetensors", "4"):
        at = gr.convert(at, folder / target).path
    assert_same(values(str(folder / "a")), values(at))


# Hostile files


def header(entries: Any, data: int = 0) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + bytes(data)


def tensor(shape: Any = (1,), offsets: Any = (0, 4), dtype: Any = "F32", **more: Any) -> Any:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets, **more}


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "0 bytes"),
        (b"\xff" * 8 + b"{}", "declare a header of 18446744073709551615 bytes"),
        ((100).to_bytes(8, "little") + b"{}", "declare a header of 100 bytes; 2 bytes follow"),
        (header(b"[]"), "starts with b'\\['"),
        (header(b'{"a'), "no JSON"),
        (header(b'{"a":"\xff"}'), "no JSON"),
        (header(b'{"a":' + b"[" * 100_000), "no JSON"),
        (header(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'), "key twice"),
        (header(b'{"\\ud800":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'), "is no text"),
        (header({"__metadata__": {"a": 1}}), "text to text"),
        (header({"a": 1}), "'a' should have dtype"),
        (header({"a": tensor(more=1)}, 4), "nothing else"),
        (header({"a": tensor(dtype=1)}, 4), "dtype that is no text"),
        (header({"a": tensor(shape=[-1])}, 4), "no list of sizes"),
        (header({"a": tensor(shape=[True])}, 4), "no list of sizes"),
        (header({"a": tensor(shape=[1 << 63])}, 4), "no list of sizes"),
        (header({"a": tensor(offsets=[0, 4, 8])}, 4), "a begin and an end"),
        (header({"a": tensor(offsets=[4, 0])}, 4), "a begin and an end"),
        (header({"a": tensor(shape=[1] * 65)}, 4), "65 dimensions"),
        (header({"a": tensor(shape=[0, 1 << 62], offsets=[0, 0])}), "no memory could hold"),
        (header({"a": tensor(shape=[2])}, 4), "takes 8 bytes, and it has 4"),
        (header({"a": tensor(offsets=[4, 8])}, 8), "begins at 4 and not at 0"),
        (header({"a": tensor(), "b": tensor(offsets=[2, 6])}, 8), "behind 'a', which ends at 4"),
        (header({"a": tensor()}, 3), "take 4 bytes, and 3 bytes follow"),
        (header({"a": tensor()}, 5), "take 4 bytes, and 5 bytes follow"),
    ],
)
def test_a_safetensors_file_that_lies_is_refused(data: bytes, what: str, tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    file.write_bytes(data)
    with pytest.raises(gr.CorruptFile, match=what):
        SafetensorsReader(file)


def npy(array: np.ndarray[Any, Any] | None = None, text: str | None = None) -> bytes:
    """A `.npy` file, or one whose header is any text."""
    buffer = io.BytesIO()
    if array is not None:
        np.save(buffer, array)
        return buffer.getvalue()
    assert text is not None
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def described(descr: str, shape: str, columns: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {columns}, 'shape': {shape}, }}\n"


def archive(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, data in members:
            made.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("member", "error", "what"),
    [
        (b"", gr.CorruptFile, "ends after 0 of 8"),
        (b"\x93NUMPZ\x01\x00", gr.CorruptFile, "magic"),
        (b"\x93NUMPY\x03\x00\x01\x00\x00\x00{", gr.CorruptFile, "version"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", gr.CorruptFile, "header of 4294967295 bytes"),
        (npy(text="{"), gr.CorruptFile, "no array"),
        (npy(text="__import__('os').abort()"), gr.CorruptFile, "no array"),
        (npy(text=described("'<f4'", "(-1,)")), gr.CorruptFile, "shape"),
        (npy(text=described("'<f4'", "(1000000000000,)")), gr.CorruptFile, "4000000000000 bytes, and 0 are there"),
        (npy(text=described("'|S0'", "(1000000000000,)")), gr.CorruptFile, "0 are there"),
        (npy(text=described("'<f4'", "(0, 9000000000000000000)")), gr.CorruptFile, "shape"),
        (npy(text=described("'<f4'", "(2,)")) + bytes(9), gr.CorruptFile, "8 bytes, and 9 are there"),
        (npy(text=described("'|O'", "(1,)")) + bytes(8), gr.UnsupportedOp, "pickled"),
        (npy(text=described("'<M8[s]'", "(1,)")) + bytes(8), gr.UnsupportedOp, "datetime64"),
        (npy(text=described("[('a', '<f4'), ('b', '<f4')]", "(1,)")) + bytes(8), gr.UnsupportedOp, "none like it"),
        (npy(text=described("[('bfloat16', '<f4')]", "(1,)")) + bytes(4), gr.UnsupportedOp, "none like it"),
        (npy(text=described("('<f4', (2,))", "(1,)")) + bytes(8), gr.GraphrackError, "a"),
    ],
)
def test_an_npz_file_that_lies_is_refused(member: bytes, error: Any, what: str, tmp_path: Path) -> None:
    reader = NpzReader(archive(tmp_path / "m.npz", ("a.npy", member)))
    with pytest.raises(error, match=what):
        reader.spec("a")
    reader.close()


def test_what_is_no_array_in_an_archive_is_refused(tmp_path: Path) -> None:
    for name in ("readme.txt", ".npy"):
        with pytest.raises(gr.UnsupportedOp, match="is no array"):
            NpzReader(archive(tmp_path / "m.npz", (name, b"")))
    with pytest.raises(gr.UnsupportedOp, match="deflate"):
        NpzReader(archive(tmp_path / "m.npz", ("a.npy", npy(np.ones(3))), method=zipfile.ZIP_LZMA))
    (tmp_path / "m.npz").write_bytes(b"PK" + bytes(100))
    with pytest.raises(gr.CorruptFile, match="no array of a .npz file"):
        NpzReader(tmp_path / "m.npz")


def test_a_zip_bomb_is_refused_before_anything_is_unpacked(tmp_path: Path) -> None:
    file = archive(tmp_path / "m.npz", ("a.npy", npy(np.zeros(1000))), method=zipfile.ZIP_DEFLATED)
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = (1 << 30).to_bytes(4, "little")  # the size that the directory declares
    file.write_bytes(data)
    with pytest.raises(gr.CorruptFile, match="declares 1073741824 bytes, made of"):
        NpzReader(file)


def test_a_wrong_checksum_in_an_archive_is_found(tmp_path: Path) -> None:
    file = archive(tmp_path / "m.npz", ("a.npy", npy(np.arange(100.0))))
    data = bytearray(file.read_bytes())
    data[500] ^= 1
    file.write_bytes(data)
    with pytest.raises(gr.CorruptFile, match=r"'a'.*CRC"):
        gr.convert(file, tmp_path / "m")
    assert os.listdir(tmp_path) == ["m.npz"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("good")
    arrays = {"a/w": np.arange(6.0).reshape(2, 3), "b": np.array([1, 2], ml_dtypes.bfloat16), "c": np.array(True)}
    prefix = gr.save_checkpoint(folder / "m", arrays)
    for ending in ("npz", "safetensors"):
        gr.convert(prefix, folder / f"m.{ending}")
    np.savez_compressed(folder / "deflated.npz", **arrays)
    return folder


@pytest.mark.parametrize("name", ["m.npz", "m.safetensors", "deflated.npz"])
@given(data=st.data())
@settings(max_examples=120)
def test_damaged_files_give_an_error_of_ours_or_tensors(name: str, good: Path, data: st.DataObject) -> None:
    raw = bytearray((good / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        how = data.draw(st.sampled_from(["set", "cut", "insert"]))
        if how == "set":
            raw[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del raw[at : at + data.draw(st.integers(1, 9))]
        else:
            raw[at:at] = data.draw(st.binary(max_size=9))
        if not raw:
            break
    file = good / f"damaged.{name.rpartition('.')[2]}"
    file.write_bytes(raw)
    tracemalloc.start()
    try:
        gr.convert(file, good / "out")
    except gr.GraphrackError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20_000_000
