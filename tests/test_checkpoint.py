"""`Checkpoint`, its views, and `save_checkpoint`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from formats.checkpoint_samples import every_dtype, same, tf_save, tf_save_v1

from graphrack.checkpoint import Checkpoint, checkpoints, latest_checkpoint, save_checkpoint
from graphrack.errors import CorruptCheckpoint, FileError, RestoreError, UnknownName
from graphrack.formats.tensor_spec import TensorSpec

VALUES = {
    "a/w": np.arange(6.0).reshape(2, 3),
    "a/b": np.float32(1),
    "b/w": np.array([b"x"], object),
    "step": np.int64(7),
}


@pytest.fixture(params=["v2", "v1"])
def checkpoint(request, tmp_path):
    """The same values as TensorFlow saves them in either version."""
    save = {"v2": tf_save, "v1": tf_save_v1}[request.param]
    return Checkpoint(save(tmp_path / "m", VALUES))


def test_it_is_a_read_only_mapping_of_arrays(checkpoint):
    assert isinstance(checkpoint, Mapping)
    assert list(checkpoint) == sorted(VALUES)
    assert len(checkpoint) == 4
    assert "a/w" in checkpoint
    assert "w" not in checkpoint
    assert all(same(checkpoint[name], value) for name, value in VALUES.items())
    assert same(dict(checkpoint)["step"], VALUES["step"])
    assert checkpoint.get("nothing") is None
    with pytest.raises(ValueError, match="read-only"):
        checkpoint["a/w"][0] = 0
    with pytest.raises(TypeError):
        checkpoint["a/w"] = 0


def test_it_is_itself_only_and_can_be_a_key(checkpoint):
    assert checkpoint == checkpoint
    assert checkpoint != Checkpoint(checkpoint.prefix)
    assert {checkpoint: 1}[checkpoint] == 1


def test_specs_tell_dtype_and_shape(checkpoint):
    spec = checkpoint.spec("a/w")
    assert isinstance(spec, TensorSpec)
    assert spec.name == "a/w"
    assert spec.dtype == np.float64
    assert spec.shape == (2, 3)
    assert checkpoint.nbytes("a/w") == 48


def test_its_repr_shows_what_is_in_it(checkpoint):
    text = repr(checkpoint)
    assert text.splitlines()[0] == f"<Checkpoint {checkpoint.prefix!r}: 4 tensors, 60 bytes>"
    assert "  a/w   float64  [2, 3]" in text
    assert "scalar" in text
    assert ".select: 2 tensors" in repr(checkpoint.select("a/*"))


def test_a_repr_of_many_tensors_is_short(tmp_path):
    save_checkpoint(tmp_path / "m", {f"v{i}": i for i in range(100)})
    assert len(repr(Checkpoint(tmp_path / "m")).splitlines()) == 10
    assert "and 92 more" in repr(Checkpoint(tmp_path / "m"))


@pytest.mark.parametrize("call", ["__getitem__", "spec", "read_slice", "nbytes"])
def test_an_unknown_name_comes_with_the_closest(checkpoint, call):
    with pytest.raises(UnknownName, match=r"no tensor 'a/v'; closest: .*'a/w'"):
        getattr(checkpoint, call)("a/v")
    with pytest.raises(KeyError):
        getattr(checkpoint, call)("a/v")


def test_parts_are_read_as_restore_asks_for_them(checkpoint):
    part = checkpoint.read_slice("a/w", "2 3 1,1:0,2")
    assert part.tolist() == [[3, 4]]
    part[:] = 0
    whole = checkpoint.read_slice("a/w")
    whole[:] = 0
    assert same(checkpoint["a/w"], VALUES["a/w"])


# Views


def names(checkpoint) -> dict[str, object]:
    return {name: checkpoint[name].tolist() for name in checkpoint}


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("a/*", ["a/b", "a/w"]),
        ("*w", ["a/w", "b/w"]),
        ("[ab]/w", ["a/w", "b/w"]),
        ("nothing*", []),
        (["step", "a/w"], ["a/w", "step"]),
        ({"step"}, ["step"]),
        (lambda name: "b" in name, ["a/b", "b/w"]),
    ],
)
def test_select_takes_a_glob_names_or_a_predicate(checkpoint, pattern, chosen):
    view = checkpoint.select(pattern)
    assert list(view) == chosen
    assert all(same(view[name], VALUES[name]) for name in chosen)


def test_select_refuses_names_that_arent_there(checkpoint):
    with pytest.raises(UnknownName, match="no tensor 'steps'; closest: 'step'"):
        checkpoint.select(["step", "steps"])
    with pytest.raises(UnknownName, match=r"select has no tensor 'step'"):
        checkpoint.select("a/*")["step"]


def test_rename_gives_other_names_and_can_swap_two(checkpoint):
    view = checkpoint.rename({"a/w": "b/w", "b/w": "a/w", "step": "global_step"})
    assert same(view["b/w"], VALUES["a/w"])
    assert same(view["a/w"], VALUES["b/w"])
    assert same(view.read_slice("global_step"), VALUES["step"])
    assert view.spec("b/w") == ("b/w", checkpoint.spec("a/w").dtype, (2, 3))
    assert "step" not in view


def test_rename_refuses_unknown_names_and_names_that_clash(checkpoint):
    with pytest.raises(UnknownName, match="no tensor 'v'"):
        checkpoint.rename({"v": "w"})
    with pytest.raises(RestoreError, match=r"the name 'step': '.*' and '.*'; rename"):
        checkpoint.rename({"a/b": "step"})


@pytest.mark.parametrize("scope", ["m", "m/", "m/n"])
def test_scopes_are_put_on_and_taken_off(checkpoint, scope):
    view = checkpoint.with_scope(scope)
    assert set(view) == {scope.rstrip("/") + "/" + name for name in VALUES}
    assert names(view.without_scope(scope)) == names(checkpoint)


def test_without_scope_leaves_out_the_others_and_refuses_one_that_is_empty(checkpoint):
    assert list(checkpoint.without_scope("a")) == ["b", "w"]
    with pytest.raises(UnknownName, match="under the scope 'aa'; closest: 'a'"):
        checkpoint.without_scope("aa")


def test_averages_stand_for_their_variables_as_variables_to_restore_has_it(tmp_path):
    with tf.Graph().as_default(), tf.Session() as sess:
        trained = tf.get_variable("layer/w", initializer=np.arange(3.0), use_resource=False)
        tf.get_variable("step", initializer=np.int64(7), trainable=False, use_resource=False)
        ema = tf.train.ExponentialMovingAverage(0.5)
        update = ema.apply([trained])
        sess.run(trained.initializer)
        sess.run(tf.global_variables_initializer())
        sess.run(trained.assign_add([1.0, 1, 1]))
        sess.run(update)
        prefix = tf.train.Saver().save(sess, str(tmp_path / "m"))
        tf.train.Saver(ema.variables_to_restore()).restore(sess, prefix)
        expected = {"layer/w": sess.run(trained).tolist(), "step": 7}
    view = Checkpoint(prefix).averages()
    assert names(view) == expected
    assert names(view.with_scope("m").select("m/l*")) == {"m/layer/w": expected["layer/w"]}
    assert view.spec("layer/w").name == "layer/w"


def test_averages_of_a_checkpoint_without_any_are_refused(checkpoint):
    with pytest.raises(UnknownName, match="has no moving averages"):
        checkpoint.averages()


def test_views_verify_and_close_the_files_they_share(checkpoint):
    view = checkpoint.select("a/*")
    view.verify()
    with checkpoint:
        value = view["a/w"]
    assert same(value, VALUES["a/w"])
    with pytest.raises(FileError, match="is closed"):
        view["a/w"]


def test_views_copy_nothing(tmp_path):
    save_checkpoint(tmp_path / "m", {"w": np.zeros(1 << 20)})
    checkpoint = Checkpoint(tmp_path / "m")
    view = checkpoint.rename({"w": "v"}).with_scope("s")
    assert np.shares_memory(view["s/v"], checkpoint["w"])


def test_verify_reports_damage_and_progress(tmp_path):
    save_checkpoint(tmp_path / "m", {"w": np.zeros(9), "v": 1})
    calls = []
    Checkpoint(tmp_path / "m").verify(progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (80, 80)
    path = tmp_path / "m.data-00000-of-00001"
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptCheckpoint, match=r"m.data-00000-of-00001: tensor 'w' at offset 8 "):
        Checkpoint(tmp_path / "m").verify()


# Saving


def test_what_is_saved_is_read_here_and_by_tensorflow(tmp_path):
    samples = every_dtype()
    prefix = save_checkpoint(tmp_path / "new" / "folder" / "m", samples)
    assert prefix == str(tmp_path / "new" / "folder" / "m")
    checkpoint = Checkpoint(prefix)
    assert all(checkpoint[name].tolist() == value.tolist() for name, value in samples.items())
    assert set(tf.train.load_checkpoint(prefix).get_variable_to_shape_map()) == set(samples)


def test_a_checkpoint_can_be_saved_over_itself_and_from_v1(checkpoint):
    assert save_checkpoint(checkpoint.prefix, checkpoint.rename({"step": "global_step"})) == checkpoint.prefix
    again = Checkpoint(checkpoint.prefix)
    again.verify()
    assert same(again["global_step"], VALUES["step"])
    assert same(checkpoint["step"], VALUES["step"])


def test_a_session_restores_what_is_saved(tmp_path):
    prefix = save_checkpoint(tmp_path / "m", {"w": np.arange(4, dtype=np.float32), "names": ["a", "é"]})
    with tf.Graph().as_default(), tf.Session() as sess:
        w = tf.get_variable("w", [4])
        strings = tf.get_variable("names", [2], tf.string, initializer=tf.constant_initializer(["", ""]))
        tf.train.Saver().restore(sess, prefix)
        assert sess.run(w).tolist() == [0, 1, 2, 3]
        assert sess.run(strings).tolist() == [b"a", "é".encode()]


def test_neither_a_graph_nor_a_state_file_is_written(tmp_path):
    save_checkpoint(tmp_path / "m", {"w": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.data-00000-of-00001", "m.index"]
    assert latest_checkpoint(tmp_path) is None
    assert checkpoints(tmp_path) == [str(tmp_path / "m")]


def test_an_empty_checkpoint_is_one(tmp_path):
    checkpoint = Checkpoint(save_checkpoint(tmp_path / "m", {}))
    checkpoint.verify()
    assert dict(checkpoint) == {}
    assert tf.train.load_checkpoint(checkpoint.prefix).get_variable_to_shape_map() == {}


def test_reading_a_mapped_checkpoint_takes_no_memory_for_values(tmp_path):
    prefix = save_checkpoint(tmp_path / "m", {"w": np.ones(12_500_000)})  # 100 MB
    # Not by ru_maxrss: that begins with what the parent process had.
    code = (
        "import sys\n"
        "from graphrack.checkpoint import Checkpoint\n"
        "import google_crc32c, graphrack.formats.protos.checkpoint_pb2\n"
        "def peak():\n"
        "    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "c = Checkpoint(sys.argv[1])\n"
        "w = c['w']\n"
        "open('/proc/self/clear_refs', 'w').write('5')\n"
        "before = peak()\n"
        "own = c.read_slice('w')\n"
        "own[:1000] = 2\n"
        "print(own[0], w[0], peak() - before < 10_000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, prefix], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2.0", "1.0", "True"]


def test_importing_checkpoints_imports_nothing_heavy():
    code = (
        "import sys, graphrack.checkpoint\n"
        "heavy = ('tensorflow', 'scipy', 'cramjam', 'ml_dtypes', 'google_crc32c')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
