"""Variables by reference and by resource, and the Saver's own ops, in graphs as TensorFlow writes them.

Ops here: Assign AssignAdd AssignSub AssignVariableOp AssignAddVariableOp AssignSubVariableOp ReadVariableOp
VariableShape IsVariableInitialized VarIsInitializedOp DestroyResourceOp RefIdentity, and the Saver's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from recording import Refusal, Run, record, record_opened
from tf_models import session

import graphrack as gr

raw = tf.raw_ops


def judge(tmp_path: Path, build: Callable[[], list[list[Any]]]) -> None:
    """Runs what `build` gives, one list of fetches a run, by both; the state stays from run to run."""
    with session() as sess:
        runs = [[getattr(f, "name", f) for f in fetches] for fetches in build()]
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
        expected: list[Any] = []
        for fetches in runs:
            try:
                expected.append(sess.run(fetches))
            except (tf.errors.OpError, ValueError) as error:
                expected.append(error)
    record(
        (tmp_path / "g.pb").read_bytes(),
        [
            Run(fetches, {}, Refusal(str(values)) if isinstance(values, Exception) else values)
            for fetches, values in zip(runs, expected, strict=True)
        ],
    )
    model = gr.load(tmp_path / "g.pb")
    for fetches, values in zip(runs, expected, strict=True):
        if isinstance(values, Exception):
            with pytest.raises(gr.GraphrackError):
                model.run(fetches)
            continue
        for found, value, name in zip(model.run(fetches), values, fetches, strict=True):
            if value is not None:
                np.testing.assert_array_equal(found, value, err_msg=str(name))
                assert np.asarray(found).dtype == np.asarray(value).dtype


@pytest.mark.parametrize(
    "dtype", [tf.float32, tf.float64, tf.float16, tf.int32, tf.int64, tf.complex64], ids=lambda t: t.name
)
@pytest.mark.parametrize("shape", [(), (3,), (0, 2)], ids=str)
def test_references_are_assigned_and_read(tmp_path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    value = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype.as_numpy_dtype)

    def build() -> list[list[Any]]:
        v = raw.VariableV2(shape=shape, dtype=dtype, name="v")
        ready = raw.IsVariableInitialized(ref=v, name="ready")
        assign = raw.Assign(ref=v, value=value, name="Assign")
        add = raw.AssignAdd(ref=v, value=np.ones_like(value), name="AssignAdd")
        sub = raw.AssignSub(ref=v, value=np.ones_like(value) + np.ones_like(value), name="AssignSub")
        same = raw.RefIdentity(input=v, name="RefIdentity")
        wrong = raw.AssignAdd(
            ref=v, value=tf.placeholder_with_default(np.ones((5, 5), value.dtype), None), name="wrong"
        )
        # An empty variable always counts as initialised in TensorFlow: there is nothing to be missing.
        before = [[ready], [v]] if 0 not in shape else []
        return [*before, [assign], [ready], [add], [v, same], [sub], [same], [wrong], [v]]

    judge(tmp_path, build)


@pytest.mark.parametrize("dtype", [tf.float32, tf.int64, tf.bool, tf.string], ids=lambda t: t.name)
@pytest.mark.parametrize("shape", [(), (3,), None], ids=str)
def test_resources_are_assigned_and_read(tmp_path: Path, dtype: Any, shape: Any) -> None:
    sizes = (2, 2) if shape is None else shape
    values = {tf.bool: np.ones(sizes, bool), tf.string: np.full(sizes, b"text", object)}
    value = values.get(dtype, np.full(sizes, 3, dtype.as_numpy_dtype))
    number = dtype in (tf.float32, tf.int64)

    def build() -> list[list[Any]]:
        handle = raw.VarHandleOp(dtype=dtype, shape=shape, shared_name="other", name="v")
        ready = raw.VarIsInitializedOp(resource=handle, name="VarIsInitializedOp")
        read = raw.ReadVariableOp(resource=handle, dtype=dtype, name="ReadVariableOp")
        sizes32 = raw.VariableShape(input=handle, name="VariableShape")
        sizes64 = raw.VariableShape(input=handle, out_type=tf.int64, name="VariableShape64")
        assign = raw.AssignVariableOp(resource=handle, value=tf.constant(value), name="AssignVariableOp")
        shared = raw.DisableCopyOnRead(resource=handle, name="DisableCopyOnRead")
        runs = [[ready], [read], [assign], [shared], [ready, read, sizes32, sizes64]]
        if number:
            add = raw.AssignAddVariableOp(resource=handle, value=np.ones_like(value), name="AssignAddVariableOp")
            sub = raw.AssignSubVariableOp(resource=handle, value=value, name="AssignSubVariableOp")
            runs += [[add], [read], [sub], [read]]
        destroy = raw.DestroyResourceOp(resource=handle, ignore_lookup_error=False, name="DestroyResourceOp")
        return [*runs, [destroy], [ready], [destroy], [read]]

    judge(tmp_path, build)


def test_a_variables_dtype_and_shape_bind_what_is_assigned(tmp_path: Path) -> None:
    with session() as sess:
        fed = tf.placeholder(tf.float32, name="fed")
        v = raw.VariableV2(shape=[2], dtype=tf.float32, name="v")
        raw.Assign(ref=v, value=fed, name="checked")
        raw.Assign(ref=v, value=fed, validate_shape=False, name="free")
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
    model = gr.load(tmp_path / "g.pb")
    with pytest.raises(gr.OpError, match=r"'checked' \(Assign\).*'v' has shape \[2\].*\[3\]"):
        model.run("checked", {"fed": [1, 2, 3]})
    model.run("free", {"fed": [1, 2, 3]})
    assert model.run("v").tolist() == [1, 2, 3]


def test_two_nodes_of_one_shared_name_are_one_variable(tmp_path: Path) -> None:
    def build() -> list[list[Any]]:
        one, other = (raw.VarHandleOp(dtype=tf.float32, shape=[], shared_name="shared", name=n) for n in "ab")
        assign = raw.AssignVariableOp(resource=one, value=tf.constant(5.0), name="assign")
        return [[assign], [raw.ReadVariableOp(resource=other, dtype=tf.float32, name="read")]]

    judge(tmp_path, build)


@pytest.mark.parametrize("form", ["RestoreV2", "RestoreSlice", "Restore"])
def test_restore_ops_read_the_checkpoint_that_was_opened_for_them(tmp_path: Path, form: str) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    gr.save_checkpoint(tmp_path / "c", {"w": values})
    with session() as sess:
        prefix = tf.placeholder_with_default("model", [], name="save/Const")
        v = raw.VariableV2(shape=[3, 2] if form != "Restore" else [3, 4], dtype=tf.float32, name="v")
        if form == "RestoreV2":
            (restored,) = raw.RestoreV2(
                prefix=prefix, tensor_names=["w"], shape_and_slices=["3 4 -:1,2"], dtypes=[tf.float32]
            )
        elif form == "RestoreSlice":
            restored = raw.RestoreSlice(
                file_pattern=prefix, tensor_name="w", shape_and_slice="3 4 -:1,2", dt=tf.float32, preferred_shard=0
            )
        else:
            restored = raw.Restore(file_pattern=prefix, tensor_name="w", dt=tf.float32)
        with tf.control_dependencies([raw.Assign(ref=v, value=restored)]):
            tf.no_op(name="save/restore_all")
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
    model = gr.load(tmp_path / "g.pb")
    model.restore(tmp_path / "c")
    wanted = values if form == "Restore" else values[:, 1:3]
    np.testing.assert_array_equal(model.variables["v"], wanted)
    record_opened(tmp_path / "g.pb", restore="c", variables={"v": wanted})


@pytest.mark.parametrize("form", ["SaveV2", "SaveSlices", "Save"])
def test_save_ops_write_what_tensorflow_reads(tmp_path: Path, form: str) -> None:
    with session() as sess:
        prefix = tf.placeholder_with_default("model", [], name="save/Const")
        value = tf.constant([[1.0, 2.0], [3.0, 4.0]])
        if form == "SaveV2":
            done = raw.SaveV2(prefix=prefix, tensor_names=["w"], shape_and_slices=["2 4 -:2,2"], tensors=[value])
        elif form == "SaveSlices":
            done = raw.SaveSlices(filename=prefix, tensor_names=["w"], shapes_and_slices=["2 4 -:2,2"], data=[value])
        else:
            done = raw.Save(filename=prefix, tensor_names=["w"], data=[value])
        with tf.control_dependencies([done]):
            tf.identity(prefix, name="save/control_dependency")
            tf.no_op(name="save/restore_all")
        tf.io.write_graph(sess.graph_def, str(tmp_path), "g.pb", as_text=False)
    record_opened(tmp_path / "g.pb", saved={"w": [[1, 2], [3, 4]]} if form == "Save" else {})
    gr.load(tmp_path / "g.pb").save(tmp_path / "out")
    reader = gr.Checkpoint(tmp_path / "out")
    part = reader.read_slice("w", "2 4 -:2,2") if form != "Save" else reader["w"]
    np.testing.assert_array_equal(part, [[1, 2], [3, 4]])
    assert tf.train.load_checkpoint(str(tmp_path / "out")).get_variable_to_shape_map()["w"] == (
        [2, 4] if form != "Save" else [2, 2]
    )


def test_sharded_saves_are_merged(tmp_path: Path) -> None:
    """ShardedFilename, SaveV2 of each shard, MergeV2Checkpoints: what a Saver made with `sharded=True` does."""
    with session() as sess:
        with tf.device("/cpu:0"):
            tf.Variable([1.0, 2.0], name="a")
        with tf.device("/job:other/cpu:0"):
            tf.Variable([3.0], name="b")
        saver = tf.train.Saver(sharded=True)
        meta = saver.export_meta_graph(str(tmp_path / "g.meta"))
        assert "MergeV2Checkpoints" in {n.op for n in meta.graph_def.node}
        del sess
    model = gr.load(tmp_path / "g.meta")
    model.initialize()
    prefix = model.save(tmp_path / "out" / "m")
    reader = tf.train.load_checkpoint(prefix)
    assert reader.get_tensor("a").tolist() == [1, 2]
    assert reader.get_tensor("b").tolist() == [3]
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if "data" in p.name) == [
        "m.data-00000-of-00002", "m.data-00001-of-00002",
    ]  # fmt: skip
