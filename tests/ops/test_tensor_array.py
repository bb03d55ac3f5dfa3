"""TensorArrays of all three versions: what they hold, add up, refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.harness import Refused, compare
from ops.removed import apply, pretend_age
from ops.session import Kernels, sessions

from graphrack.ops.tensor_array import TensorArray

VERSIONS = ("", "V2", "V3")
NAMES = {
    "": ("TensorArray", "TensorArrayV2", "TensorArrayV3"),
    "Close": ("TensorArrayClose", "TensorArrayCloseV2", "TensorArrayCloseV3"),
    "Concat": ("TensorArrayConcat", "TensorArrayConcatV2", "TensorArrayConcatV3"),
    "Gather": ("TensorArrayGather", "TensorArrayGatherV2", "TensorArrayGatherV3"),
    "Grad": ("TensorArrayGrad", "TensorArrayGradV2", "TensorArrayGradV3"),
    "Pack": ("TensorArrayPack",),
    "Read": ("TensorArrayRead", "TensorArrayReadV2", "TensorArrayReadV3"),
    "Scatter": ("TensorArrayScatter", "TensorArrayScatterV2", "TensorArrayScatterV3"),
    "Size": ("TensorArraySize", "TensorArraySizeV2", "TensorArraySizeV3"),
    "Split": ("TensorArraySplit", "TensorArraySplitV2", "TensorArraySplitV3"),
    "Unpack": ("TensorArrayUnpack",),
    "Write": ("TensorArrayWrite", "TensorArrayWriteV2", "TensorArrayWriteV3"),
}
DTYPES = ("float32", "float64", "int32", "bool", "string", "float16", "complex64", "uint8", "bfloat16")


def hidden(value: Any) -> Any:
    """A tensor of which nothing is known before it runs; what is no tensor stays as it is."""
    tensors = (tf.Tensor, np.ndarray, np.generic)
    return tf.placeholder_with_default(value, None) if isinstance(value, tensors) else value


class Script:
    """Ops on one array, one after another, whose results are fetched.

    Ops are named as in `NAMES`.
    """

    def __init__(self, version: str, size: int = 3, **attributes: Any):
        self.version = version
        self.fetches: list[Any] = []
        self.last: list[Any] = []
        if version != "V3":
            pretend_age(12)
        made = apply(NAMES[""][VERSIONS.index(version)], size=np.int32(size), **attributes)
        self.handle, self.flow = made if version == "V3" else (made, tf.constant(0.0))

    def do(self, name: str, handle: Any = None, **arguments: Any) -> Any:
        takes_flow = "Close" not in name
        with tf.control_dependencies(self.last):
            # Placed behind the op before: inputs are read in the script's order.
            flow = {"flow_in": tf.identity(self.flow)} if takes_flow else {}
            gate = [tf.no_op()]
        with tf.control_dependencies(gate):
            made = apply(
                NAMES[name][VERSIONS.index(self.version)],
                handle=self.handle if handle is None else handle,
                **{key: hidden(value) for key, value in arguments.items()},
                **flow,
            )
        outputs = [made] if isinstance(made, (tf.Tensor, tf.Operation)) else list(made)
        self.last = [o if isinstance(o, tf.Operation) else o.op for o in outputs]
        self.fetches += [o for o in outputs if isinstance(o, tf.Tensor) and o.dtype.base_dtype not in (tf.resource,)]
        return made

    def write(self, index: int, value: Any, handle: Any = None) -> None:
        self.do("Write", handle, index=np.int32(index), value=value)

    def read(self, index: int, dtype: Any = tf.float32, handle: Any = None) -> None:
        self.do("Read", handle, index=np.int32(index), dtype=dtype)

    def gradient(self, source: str = "g") -> Any:
        with tf.control_dependencies(self.last):
            made = apply(
                NAMES["Grad"][VERSIONS.index(self.version)], handle=self.handle, flow_in=self.flow, source=source
            )
        handle = made[0] if self.version == "V3" else made
        self.last = [handle.op]
        return handle


def judge(build: Callable[[], Script], refused: bool | None = False) -> None:
    """Runs a script both ways. What isn't refused gives the same."""
    theirs, ours = sessions(lambda: [f for f in build().fetches if f.dtype.base_dtype != tf.resource])
    for expected, found in zip(theirs, ours, strict=True):
        assert refused is None or isinstance(expected, Refused) is refused, f"TensorFlow: {expected}"
        assert isinstance(found, Refused) is isinstance(expected, Refused), f"{found}; TensorFlow: {expected}"
        if not isinstance(expected, Refused):
            for our, their in zip(found, expected, strict=True):
                compare(our, their)


def values(dtype: str, *shape: int) -> Any:
    rng = np.random.default_rng(len(shape) + sum(shape))
    if dtype == "string":
        return np.array([b"v%d" % i for i in range(int(np.prod(shape)))], object).reshape(shape)
    return (rng.normal(size=shape) * 9).astype(tf.as_dtype(dtype).as_numpy_dtype)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_written_is_read_gathered_and_concatenated(version: str, dtype: str) -> None:
    data = values(dtype, 3, 2, 2)

    def build() -> Script:
        script = Script(version, dtype=dtype, clear_after_read=False)
        for i in (2, 0, 1):
            script.write(i, tf.constant(data[i], dtype))
        script.read(1, dtype)
        script.do("Size")
        script.do("Gather", indices=np.array([2, 0, 2], np.int32), dtype=dtype)
        script.do("Concat", dtype=dtype)
        if version == "":
            script.do("Pack", dtype=dtype)
        return script

    judge(build)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_are_taken_apart(version: str, dtype: str) -> None:
    data = values(dtype, 4, 2)

    def build() -> Script:
        script = Script(version, 3, dtype=dtype, dynamic_size=True)
        script.do("Scatter", indices=np.array([3, 0, 2, 1], np.int32), value=tf.constant(data, dtype))
        for i in range(4):
            script.read(i, dtype)
        return script

    def split() -> Script:
        script = Script(version, 3, dtype=dtype)
        script.do("Split", value=tf.constant(data, dtype), lengths=np.array([1, 0, 3], np.int64))
        for i in (2, 1, 0):
            script.read(i, dtype)
        return script

    judge(build)
    judge(split)


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_are_unpacked_to_scalars(dtype: str) -> None:
    data = values(dtype, 3)

    def build() -> Script:
        script = Script("", 1, dtype=dtype, dynamic_size=True)
        script.do("Unpack", value=tf.constant(data, dtype))
        script.do("Pack", dtype=dtype)
        return script

    judge(build)


@pytest.mark.parametrize("version", VERSIONS)
def test_gradients_add_up_by_source(version: str) -> None:
    def build() -> Script:
        script = Script(version, dtype="float32", clear_after_read=False)
        script.write(0, tf.constant([1.0, 2.0]))
        script.write(1, tf.constant([3.0, 4.0]))
        first, second = script.gradient("a"), script.gradient("b")
        again = script.gradient("a")
        script.write(0, tf.constant([0.5, 0.25]), first)
        script.write(0, tf.constant([0.5, 0.5]), again)
        script.write(0, tf.constant([9.0, 9.0]), first)
        script.write(0, tf.constant([7.0, 7.0]), second)
        for handle in (first, second):
            script.read(0, handle=handle)
            script.read(1, handle=handle)  # never written: zeros of the forward element's shape
        return script

    judge(build)


def test_a_gradient_may_have_more_axes() -> None:
    def build() -> Script:
        script = Script("V3", dtype="float32", element_shape=[2])
        script.write(0, tf.constant([1.0, 2.0]))
        with tf.control_dependencies(script.last):
            made = tf.raw_ops.TensorArrayGradWithShape(
                handle=script.handle, flow_in=script.flow, shape_to_prepend=[3], source="g"
            )
        script.last = [made.grad_handle.op]
        script.write(1, tf.ones([3, 2]), made.grad_handle)
        script.read(0, handle=made.grad_handle)
        script.read(1, handle=made.grad_handle)
        return script

    judge(build)


@pytest.mark.parametrize("version", ["V2", "V3"])
def test_elements_never_written_are_zeros_where_their_shape_is_known(version: str) -> None:
    def build() -> Script:
        script = Script(version, dtype="float32", element_shape=[2])
        script.read(1)
        return script

    def inferred() -> Script:
        script = Script("V3", dtype="float32", identical_element_shapes=True)
        script.write(0, tf.constant([1.0, 2.0]))
        script.read(2)
        return script

    judge(build)
    judge(inferred)


def test_nothing_is_stacked_to_nothing() -> None:
    def build() -> Script:
        script = Script("V3", 0, dtype="float32", element_shape=[None, 2])
        script.do("Concat", dtype="float32", element_shape_except0=[2])
        script.do("Gather", indices=np.zeros(0, np.int32), dtype="float32", element_shape=[5, 2])
        return script

    judge(build)


ONE = np.float32(1)
WRONG: dict[str, Callable[[str], Script]] = {}


def wrong(build: Callable[[str], Any]) -> Callable[[str], Any]:
    WRONG[build.__name__] = build
    return build


def started(version: str, **attributes: Any) -> Script:
    return Script(version, **{"dtype": "float32", **attributes})


@wrong
def read_twice(version: str) -> Script:
    script = started(version)
    script.write(0, ONE)
    script.read(0)
    script.read(0)
    return script


@wrong
def write_twice(version: str) -> Script:
    script = started(version)
    script.write(0, ONE)
    script.write(0, ONE)
    return script


@wrong
def write_what_was_read(version: str) -> Script:
    script = started(version, clear_after_read=False)
    script.write(0, ONE)
    script.read(0)
    script.write(0, ONE)
    return script


@wrong
def write_beyond_the_end(version: str) -> Script:
    script = started(version)
    script.write(3, ONE)
    return script


@wrong
def write_before_the_start(version: str) -> Script:
    script = started(version, dynamic_size=True)
    script.write(-1, ONE)
    return script


@wrong
def read_what_has_no_shape(version: str) -> Script:
    script = started(version)
    script.read(0)
    return script


@wrong
def read_beyond_the_end(version: str) -> Script:
    script = started(version, dynamic_size=True)
    script.read(7)
    return script


@wrong
def write_another_dtype(version: str) -> Script:
    script = started(version)
    script.write(0, np.int32(1))
    return script


@wrong
def read_another_dtype(version: str) -> Script:
    script = started(version)
    script.write(0, ONE)
    script.read(0, tf.int32)
    return script


@wrong
def index_is_no_scalar(version: str) -> Script:
    script = started(version)
    script.do("Write", index=tf.constant([1, 2]), value=ONE)
    return script


@wrong
def negative_size(version: str) -> Script:
    script = Script(version, -1, dtype="float32")
    script.do("Size")
    return script


@wrong
def closed(version: str) -> Script:
    script = started(version)
    script.do("Close")
    script.write(0, ONE)
    return script


@wrong
def shapes_differ(version: str) -> Script:
    script = started(version)
    script.write(0, np.ones(2, np.float32))
    script.write(1, np.ones(3, np.float32))
    script.do("Gather", indices=np.array([0, 1], np.int32), dtype="float32")
    return script


@wrong
def inner_shapes_differ(version: str) -> Script:
    script = started(version, size=2)
    script.write(0, np.ones((1, 2), np.float32))
    script.write(1, np.ones((1, 3), np.float32))
    script.do("Concat", dtype="float32")
    return script


@wrong
def scalars_concatenated(version: str) -> Script:
    script = started(version, size=1)
    script.write(0, ONE)
    script.do("Concat", dtype="float32")
    return script


@wrong
def element_shape_disagrees(version: str) -> Script:
    script = started(version, element_shape=[2])
    script.write(0, np.ones(3, np.float32))
    return script


@wrong
def stacking_nothing_of_unknown_shape(version: str) -> Script:
    script = started(version)
    script.do("Gather", indices=np.zeros(0, np.int32), dtype="float32")
    return script


@wrong
def gather_asks_for_another_shape(version: str) -> Script:
    script = started(version, element_shape=[2])
    script.write(0, np.ones(2, np.float32))
    script.do("Gather", indices=np.array([0], np.int32), dtype="float32", element_shape=[3])
    return script


@wrong
def scatter_of_a_scalar(version: str) -> Script:
    script = started(version)
    script.do("Scatter", indices=np.array([0], np.int32), value=ONE)
    return script


@wrong
def scatter_of_too_few(version: str) -> Script:
    script = started(version)
    script.do("Scatter", indices=np.array([0, 1], np.int32), value=np.ones((3, 2), np.float32))
    return script


@wrong
def split_lengths_do_not_add_up(version: str) -> Script:
    script = started(version, size=2)
    script.do("Split", value=np.ones((3, 2), np.float32), lengths=np.array([1, 1], np.int64))
    return script


@wrong
def split_into_another_count(version: str) -> Script:
    script = started(version, size=3)
    script.do("Split", value=np.ones((2, 2), np.float32), lengths=np.array([1, 1], np.int64))
    return script


@wrong
def gradient_of_another_shape(version: str) -> Script:
    script = started(version)
    script.write(0, np.ones(2, np.float32))
    handle = script.gradient()
    script.write(0, np.ones(3, np.float32), handle)
    return script


@wrong
def a_forward_array_with_a_gradient_grows(version: str) -> Script:
    script = started(version, dynamic_size=True)
    script.gradient()
    script.write(5, ONE)
    return script


@wrong
def a_gradient_of_sums(version: str) -> Script:
    script = started(version)
    gradient = script.gradient()
    script.write(0, ONE, gradient)
    script.write(0, ONE, gradient)
    script.handle = gradient
    script.read(0, handle=script.gradient("second"))
    return script


@wrong
def unpack_of_another_count(version: str) -> Script:
    script = started("", size=2)
    script.do("Unpack", value=np.ones((3, 2), np.float32))
    return script


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", WRONG)
def test_what_tensorflow_refuses_is_refused(case: str, version: str) -> None:
    judge(lambda: WRONG[case](version), refused=True)


def test_messages_name_the_array_and_what_was_met() -> None:
    array = TensorArray(
        "states", _float(), 2, element_shape=(None, 3), identical_shapes=False, dynamic=False, clear=True
    )
    with pytest.raises(ValueError, match=r"'states': tried to write to index 2, .* size is 2"):
        array.write(2, np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match=r"'states'.*shape \[4\].*element shape \[\?,3\]"):
        array.write(0, np.ones(4, np.float32))
    with pytest.raises(ValueError, match=r"'states'.*value is int32, the array float32"):
        array.write(0, np.ones((1, 3), np.int32))


def _float() -> Any:
    from graphrack.formats.dtypes import FLOAT

    return FLOAT


def test_what_was_written_is_not_written_into() -> None:
    array = TensorArray("a", _float(), 1, element_shape=None, identical_shapes=False, dynamic=False, clear=False)
    array.write(0, np.ones(2, np.float32))
    gradient = array.gradient(b"g")
    first = np.ones(2, np.float32)
    for _ in range(3):
        gradient.write(0, first)
    np.testing.assert_array_equal(first, 1)
    np.testing.assert_array_equal(gradient.read(0), 3)


def test_a_declared_size_takes_no_memory() -> None:
    array = TensorArray("a", _float(), 2**31 - 1, element_shape=None, identical_shapes=False, dynamic=False, clear=True)
    array.write(2**31 - 2, np.float32(1))
    assert array.read(2**31 - 2) == 1


def test_every_run_has_its_own_array() -> None:
    with tf.Graph().as_default() as graph:
        script = Script("V3", dtype="float32")
        script.write(0, ONE)
        script.read(0)
        names = [f.name for f in script.fetches]
        data = graph.as_graph_def().SerializeToString()
    kernels = Kernels(data)
    assert kernels.run(names)[-1] == kernels.run(names)[-1] == 1
