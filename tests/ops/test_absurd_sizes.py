"""Sizes that nobody can mean: one error of the op's, in a process that may not have the memory, and which lives on."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

HUGE = 2**31 - 1


def _png(width: int, height: int) -> bytes:
    """A PNG whose header says these sizes, and which has next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


def _bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )


def _gif(width: int, height: int) -> bytes:
    picture = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + picture


def graph() -> dict[str, dict[str, Any]]:
    """Builds an op for each case into TensorFlow's current graph; gives what each is to be fed."""
    feeds: dict[str, dict[str, Any]] = {}

    def fed(value: Any, dtype: Any, shape: Any = None) -> Any:
        placeholder = tf.placeholder(dtype, [None] * np.ndim(value) if shape is None else shape)
        current[placeholder.name] = value
        return placeholder

    raw = tf.raw_ops
    i32, i64, f32, text = tf.int32, tf.int64, tf.float32, tf.string

    def case(name: str, make: Any) -> None:
        nonlocal current
        current = feeds.setdefault(name, {})
        make(name)

    current: dict[str, Any] = {}
    # fmt: off
    case("as_string_width", lambda n: raw.AsString(input=fed([1.5] * 4, f32), width=HUGE, name=n))
    case("as_string_precision", lambda n: raw.AsString(input=fed([1.5] * 4, f32), precision=HUGE, name=n))
    case("as_string_filled", lambda n: raw.AsString(input=fed([7] * 4, i32), width=HUGE, fill="0", name=n))
    case("as_string_padded", lambda n: raw.AsString(input=fed(["x"] * 4, text), width=HUGE, name=n))
    case("as_string_many", lambda n: raw.AsString(input=raw.Fill(dims=fed([10**5], i32), value=1), width=10**5, name=n))
    case("fill_numbers", lambda n: raw.Fill(dims=fed([HUGE, HUGE], i32), value=1.0, name=n))
    case("fill_text", lambda n: raw.Fill(dims=fed([HUGE, 100], i32), value="x", name=n))
    case("range", lambda n: raw.Range(start=fed(0, i64), limit=fed(2**62, i64), delta=fed(1, i64), name=n))
    case("range_float", lambda n: raw.Range(start=fed(0.0, f32), limit=fed(1.0, f32), delta=fed(1e-30, f32), name=n))
    case("linspace", lambda n: raw.LinSpace(start=fed(0.0, f32), stop=fed(1.0, f32), num=fed(2**60, i64), name=n))
    case("one_hot", lambda n: raw.OneHot(indices=fed([1, 2], i32), depth=fed(HUGE, i32), on_value=1.0, off_value=0.0,
         axis=-1, name=n))
    case("tile", lambda n: raw.Tile(input=fed(np.ones((2, 2)), f32), multiples=fed([HUGE, HUGE], i32), name=n))
    case("pad", lambda n: raw.Pad(input=fed(np.ones(2), f32), paddings=fed([[HUGE, HUGE]], i32), name=n))
    case("pad_many", lambda n: raw.PadV2(input=fed(np.ones((2, 2)), f32), paddings=fed([[HUGE, 0], [0, HUGE]], i32),
         constant_values=0.0, name=n))
    case("mirror_pad", lambda n: raw.MirrorPad(input=fed(np.ones(2), f32), paddings=fed([[HUGE, 0]], i32),
         mode="SYMMETRIC", name=n))
    case("broadcast", lambda n: raw.Neg(x=raw.BroadcastTo(input=fed(1.0, f32), shape=fed([HUGE, 1000], i32)), name=n))
    for op in ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea"):
        case(op, lambda n, op=op: getattr(raw, op)(images=fed(np.ones((1, 2, 2, 1)), f32), size=fed([10**6, 10**6], i32),
             name=n))
    case("crop_and_resize", lambda n: raw.CropAndResize(image=fed(np.ones((1, 2, 2, 1)), f32), boxes=fed([[0, 0, 1, 1]], f32),
         box_ind=fed([0], i32), crop_size=fed([10**6, 10**6], i32), name=n))
    case("png", lambda n: raw.DecodePng(contents=fed(_png(2**30, 2**30), text, []), name=n))
    case("png_wide", lambda n: raw.DecodePng(contents=fed(_png(2**20, 2**12), text, []), name=n))
    case("bmp", lambda n: raw.DecodeBmp(contents=fed(_bmp(2**20, 2**20), text, []), name=n))
    case("gif", lambda n: raw.DecodeGif(contents=fed(_gif(65535, 65535), text, []), name=n))
    case("tensor_list_reserve", lambda n: raw.TensorListStack(input_handle=raw.TensorListReserve(
         element_shape=fed([2], i32), num_elements=fed(HUGE, i32), element_dtype=f32), element_shape=[2],
         element_dtype=f32, name=n))
    case("tensor_list_resize", lambda n: raw.TensorListLength(input_handle=raw.TensorListResize(
         input_handle=raw.EmptyTensorList(element_shape=fed([2], i32), max_num_elements=fed(-1, i32), element_dtype=f32),
         size=fed(HUGE, i32)), name=n))
    case("tensor_list_set", lambda n: raw.TensorListSetItem(input_handle=raw.TensorListReserve(
         element_shape=fed([], i32), num_elements=fed(3, i32), element_dtype=f32), index=fed(HUGE, i32), item=1.0,
         name=n))
    case("tensor_array_write", lambda n: raw.TensorArrayGatherV3(
         handle=(a := raw.TensorArrayV3(size=fed(1, i32), dtype=f32, dynamic_size=True))[0], indices=fed([5], i32),
         flow_in=raw.TensorArrayWriteV3(handle=a[0], index=fed(HUGE - 1, i32), value=1.0, flow_in=a[1]), dtype=f32,
         name=n))
    case("tensor_array_stack", lambda n: raw.TensorArrayConcatV3(
         handle=(a := raw.TensorArrayV3(size=fed(HUGE, i32), dtype=f32, element_shape=[9]))[0], flow_in=a[1], dtype=f32,
         name=n))
    case("stack", lambda n: raw.StackPushV2(handle=raw.StackV2(max_size=fed(HUGE, i32), elem_type=f32),
         elem=raw.Fill(dims=fed([HUGE, 9], i32), value=1.0), name=n))
    case("ragged_range", lambda n: raw.RaggedRange(starts=fed([0], i64), limits=fed([2**60], i64), deltas=fed([1], i64),
         name=n))
    case("ragged_to_tensor", lambda n: raw.RaggedTensorToTensor(shape=fed([HUGE, HUGE], i64), values=fed([1.0], f32),
         default_value=0.0, row_partition_tensors=[fed([0, 1], i64)], row_partition_types=["ROW_SPLITS"], name=n))
    case("sparse_to_dense", lambda n: raw.SparseToDense(sparse_indices=fed([[0, 0]], i64),
         output_shape=fed([2**40, 2**20], i64), sparse_values=fed([1.0], f32), default_value=0.0, name=n))
    case("scatter_nd", lambda n: raw.ScatterNd(indices=fed([[0]], i64), updates=fed([1.0], f32), shape=fed([2**50], i64),
         name=n))
    case("segment_sum", lambda n: raw.SegmentSum(data=fed([1.0], f32), segment_ids=fed([HUGE - 1], i32), name=n))
    case("unsorted_segment_sum", lambda n: raw.UnsortedSegmentSum(data=fed([1.0], f32), segment_ids=fed([0], i32),
         num_segments=fed(HUGE, i32), name=n))
    case("bincount", lambda n: raw.Bincount(arr=fed([1], i32), size=fed(HUGE, i32), weights=fed([1.0], f32), name=n))
    case("matrix_diag", lambda n: raw.MatrixDiagV3(diagonal=fed([1.0], f32), k=fed([0], i32), num_rows=fed(HUGE, i32),
         num_cols=fed(HUGE, i32), padding_value=0.0, name=n))
    case("diag", lambda n: raw.Diag(diagonal=raw.Fill(dims=fed([10**6], i32), value=1.0), name=n))
    case("random_uniform", lambda n: raw.RandomUniform(shape=fed([HUGE, HUGE], i32), dtype=f32, name=n))
    case("truncated_normal", lambda n: raw.TruncatedNormal(shape=fed([HUGE], i32), dtype=f32, name=n))
    case("stateless_normal", lambda n: raw.StatelessRandomNormal(shape=fed([HUGE], i32), seed=fed([1, 2], i32), dtype=f32,
         name=n))
    case("multinomial", lambda n: raw.Multinomial(logits=fed([[0.0, 1.0]], f32), num_samples=fed(HUGE, i32), name=n))
    case("range_to_compare", lambda n: raw.Less(x=raw.Range(start=0, limit=fed(HUGE, i32), delta=1),
         y=fed([[1]] * 1000, i32), name=n))
    case("sparse_reshape", lambda n: raw.SparseReshape(input_indices=fed([[0]], i64), input_shape=fed([1], i64),
         new_shape=fed([2**62, 2**62], i64), name=n))
    case("conv_transpose", lambda n: raw.Conv2DBackpropInput(input_sizes=fed([1, 10**6, 10**6, 8], i32),
         filter=fed(np.ones((1, 1, 8, 1)), f32), out_backprop=fed(np.ones((1, 10**3, 10**3, 1)), f32),
         strides=[1, 1000, 1000, 1], padding="VALID", name=n))
    case("fft", lambda n: raw.RFFT(input=fed([1.0], f32), fft_length=fed([HUGE], i32), name=n))
    case("string_join", lambda n: raw.ReduceJoin(inputs=raw.Fill(dims=fed([HUGE], i32), value="abc"),
         reduction_indices=0, name=n))
    case("parse_example", lambda n: raw.ParseExample(serialized=fed([b""], text), names=fed([], text), sparse_keys=[],
         dense_keys=["a"], dense_defaults=[fed([], f32)], sparse_types=[], dense_shapes=[[HUGE, HUGE]], name=n))
    case("decode_raw", lambda n: raw.DecodePaddedRaw(input_bytes=fed([b"a"] * 8, text), fixed_length=fed(HUGE - 3, i32),
         out_type=f32, name=n))
    case("batch_to_space", lambda n: raw.BatchToSpaceND(input=fed(np.ones((4, 1, 1, 1)), f32), block_shape=fed([HUGE, HUGE], i64, [2]),
         crops=fed([[0, 0], [0, 0]], i64), name=n))
    case("space_to_batch", lambda n: raw.SpaceToBatchND(input=fed(np.ones((1, 1, 1, 1)), f32),
         block_shape=fed([1, 1], i64, [2]), paddings=fed([[2**40, 0], [2**20, 0]], i64), name=n))
    # fmt: on
    return feeds


CHILD = """
import json, pickle, resource, sys, time
import numpy as np
import graphrack as gr

model = gr.load(sys.argv[1], engine="numpy")
feeds = pickle.load(open(sys.argv[2], "rb"))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + (3 << 30)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
found = {}
for name, values in feeds.items():
    start = time.perf_counter()
    try:
        result = model.run(name, values)
        outcome = "a result"
    except gr.GraphrackError as error:
        outcome = f"{type(error).__name__}: {error}"
    except BaseException as error:
        outcome = f"!{type(error).__name__}: {error}"
    # Not getrusage's peak, which a child takes over from the process that started it.
    peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:")) // 1024
    print(json.dumps([name, outcome[:300], round(time.perf_counter() - start, 2), peak]), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, int]]:
    """For each case what came of it, the seconds it took, and the peak of memory so far in MiB."""
    import pickle

    folder: Path = tmp_path_factory.mktemp("absurd")
    with tf.Graph().as_default() as built:
        feeds = graph()
        (folder / "g.pb").write_bytes(built.as_graph_def().SerializeToString())
    (folder / "feeds").write_bytes(pickle.dumps(feeds))
    command = [sys.executable, "-c", CHILD, str(folder / "g.pb"), str(folder / "feeds")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280)
    found = {
        name: (outcome, seconds, peak) for name, outcome, seconds, peak in map(json.loads, result.stdout.splitlines())
    }
    assert result.returncode == 0, f"killed after {list(found)[-1:]}: {result.stderr[-2000:]}"
    assert found.keys() == feeds.keys()
    return found


def test_every_absurd_size_ends_in_one_error_of_the_op(outcomes: dict[str, tuple[str, float, int]]) -> None:
    wrong = {name: outcome for name, (outcome, *_) in outcomes.items() if not outcome.startswith("OpError: ")}
    assert not wrong


def test_they_take_neither_long_nor_much(outcomes: dict[str, tuple[str, float, int]]) -> None:
    slow = {name: seconds for name, (_, seconds, _) in outcomes.items() if seconds > 20}
    assert not slow
    peaks = {name: peak for name, (*_, peak) in outcomes.items()}
    assert max(peaks.values()) < 1500, peaks
