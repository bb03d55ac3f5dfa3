"""Every public function of `tf` itself and of `tf.io`, run by TensorFlow and by graphrack, with gradients.

Functions that a namespace with programs of its own has, too, are tested there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from ops.api import Programs, agree, fed
from ops.operands import FLOATS, INTS

random = np.random.default_rng(3)
X = random.normal(size=(3, 4))
A = random.normal(size=(2, 3, 3)) + 3 * np.eye(3)
N = random.integers(-7, 8, (3, 4))
IMAGE = random.normal(size=(2, 4, 6, 3))
SPARSE = tf.SparseTensorValue([[0, 1], [1, 0], [2, 3]], [1.0, -2.0, 3.0], [3, 4])
BUILDS = "builds no op: settings, scopes, graphs, collections or types"
ELSEWHERE = "has cases of its own"
PYTHON = "runs Python code of the program that made the graph: refused (test_outside)"
HANDLES = "keeps tensors in a session between its runs"

top = Programs(
    tf,
    {
        **dict.fromkeys(
            ("NoGradient", "NotDifferentiable", "no_gradient", "add_to_collection", "add_to_collections",
             "all_variables", "as_dtype", "assert_integer", "assert_proper_iterable", "assert_rank_in",
             "assert_same_float_dtype", "assert_scalar", "assert_type", "broadcast_static_shape", "colocate_with",
             "container", "control_dependencies", "control_flow_v2_enabled", "create_partitioned_variables", "device",
             "dimension_at_index", "dimension_value", "disable_control_flow_v2", "disable_eager_execution",
             "disable_resource_variables", "disable_tensor_equality", "disable_v2_behavior", "disable_v2_tensorshape",
             "enable_control_flow_v2", "enable_eager_execution", "enable_resource_variables", "enable_tensor_equality",
             "enable_v2_behavior", "enable_v2_tensorshape", "executing_eagerly", "executing_eagerly_outside_functions",
             "fixed_size_partitioner", "get_collection", "get_collection_ref", "get_default_graph",
             "get_default_session", "get_logger", "get_seed", "get_static_value", "get_variable_scope",
             "global_variables", "import_graph_def", "init_scope", "is_numeric_tensor", "is_symbolic_tensor",
             "is_tensor", "load_file_system_library", "load_library", "load_op_library", "local_variables",
             "make_ndarray", "make_tensor_proto", "min_max_variable_partitioner", "model_variables",
             "moving_average_variables", "no_regularizer", "op_scope", "register_tensor_conversion_function",
             "required_space_to_batch_paddings", "reset_default_graph", "resource_variables_enabled",
             "set_random_seed", "trainable_variables", "type_spec_from_value", "variable_axis_size_partitioner",
             "variable_creator_scope", "variable_op_scope"),
            BUILDS,
        ),
        **dict.fromkeys(
            ("placeholder", "sparse_placeholder", "constant", "global_variables_initializer", "tables_initializer",
             "local_variables_initializer", "gradients", "group", "convert_to_tensor", "initialize_all_tables",
             "initialize_all_variables", "initialize_local_variables", "initialize_variables",
             "variables_initializer"),
            "what all programs here are made with",
        ),
        **dict.fromkeys(("numpy_function", "py_func", "py_function"), PYTHON),
        **dict.fromkeys(("delete_session_tensor", "get_session_handle", "get_session_tensor"), HANDLES),
        **dict.fromkeys(("matching_files", "read_file", "write_file"), "works on files (test_files)"),
        **dict.fromkeys(
            ("parse_example", "parse_single_example", "parse_single_sequence_example", "parse_tensor",
             "quantize", "quantize_v2", "quantized_concat", "dequantize", "fake_quant_with_min_max_args",
             "fake_quant_with_min_max_args_gradient", "fake_quant_with_min_max_vars",
             "fake_quant_with_min_max_vars_gradient", "fake_quant_with_min_max_vars_per_channel",
             "fake_quant_with_min_max_vars_per_channel_gradient", "fft", "fft2d", "fft3d", "fftnd", "ifft", "ifft2d",
             "ifft3d", "ifftnd", "irfftnd", "rfftnd", "conv", "conv2d_backprop_filter_v2", "conv2d_backprop_input_v2",
             "extract_image_patches", "extract_volume_patches", "approx_top_k", "random_index_shuffle",
             "ragged_fill_empty_rows", "ragged_fill_empty_rows_grad", "unravel_index"),
            ELSEWHERE,
        ),
        "check_pinned": "no kernel in TensorFlow runs without a device of its own",
        "nondifferentiable_batch_function": "batches calls of a server",
        "wrap_function": "makes functions of a program, which hold what the programs here do",
    },
    tested=[tf.math, tf.linalg, tf.strings, tf.sparse, tf.sets, tf.random, tf.bitwise, tf.debugging, tf.train, tf.initializers, tf.io],
)  # fmt: skip

# Shapes and joining

for name in ("shape", "size", "rank"):
    top(name, X)
    top(name, SPARSE)
top("shape", X, out_type=tf.int64)
top("shape_n", [X, A])
top("reshape", X, [4, -1])
top("reshape", X, np.array([2, 6]))
top("reshape", X, np.array([5, 5]))
for axis in (0, -1, 1):
    top("expand_dims", X, axis)
    top("stack", [X, X + 1], axis)
    top("concat", [X, X + 1], 0 if axis == 0 else 1)
    top("split", X, 2 if axis else 3, axis)
    top.build("unstack", lambda axis=axis: tf.unstack(fed(X, shape=(3, 4)), axis=axis))
    top("flip" if hasattr(tf, "flip") else "reverse", X, [axis])
top("squeeze", X[:, None, :, None])
top("squeeze", X[:, None], 1)
top("split", X, [1, 3], 1)
top("parallel_stack", [X, X], use=lambda f, parts: f([tf.reshape(p, [3, 4]) for p in parts]))
top("transpose", A)
top("transpose", A, [1, 0, 2])
top("transpose", X + 1j, conjugate=True)
top("matrix_transpose", A)
top("tile", X, [2, 1])
top("tile", X, np.array([0, 2]))
top("repeat", X, 2, 0)
top("repeat", X, np.array([1, 0, 2]), 0)
top("pad", X, [[1, 0], [2, 1]], "CONSTANT", constant_values=3.0)
for mode in ("REFLECT", "SYMMETRIC"):
    top("pad", X, np.array([[1, 1], [0, 2]]), mode)
top("reverse_v2", X, [1])
top("reverse_sequence", X, np.array([2, 1, 4]), seq_axis=1, batch_axis=0)
for shift, axis in ((1, 0), ([2, -1], [0, 1])):
    top("roll", X, shift, axis)
top("meshgrid", np.arange(3.0), np.arange(2.0), use=lambda f, *a: f(*(tf.reshape(v, [-1]) for v in a)))
top(
    "meshgrid",
    np.arange(3.0),
    np.arange(2.0),
    indexing="ij",
    use=lambda f, *a, **k: f(*(tf.reshape(v, [-1]) for v in a), **k),
)
top("broadcast_to", X, np.array([2, 3, 4]))
top("broadcast_dynamic_shape", np.array([2, 1]), np.array([3]))
top("ensure_shape", X, [None, 4])
top("ensure_shape", X, [None, 5])
top("sequence_mask", np.array([1, 0, 3]))
top("sequence_mask", np.array([[1, 0, 3]]), np.array(4), tf.float32)
top("boolean_mask", X, np.array([True, False, True]), use=lambda f, a, m: f(a, tf.reshape(m, [3])))
top("boolean_mask", X, N > 0, use=lambda f, a, m: f(tf.reshape(a, [3, 4]), tf.reshape(m, [3, 4])))

# Making

top("fill", np.array([2, 3]), np.array(7.5))
top("fill", [2], "x")
for name in ("ones", "zeros"):
    top(name, np.array([2, 3]), tf.int32)
    top(f"{name}_like", X)
    top(f"{name}_like", N, tf.float32)
top("zeros_like", np.array(["a"]))
top("range", np.array(3), np.array(9), np.array(2))
top("range", np.array(1.5), np.array(4.0), np.array(0.5))
for name in ("lin_space", "linspace"):
    top(name, np.array(1.0), np.array(4.0), 5)
    top(name, np.array(1.0), np.array(4.0), 1)
top("one_hot", np.array([0, 2, -1, 5]), 4)
top("one_hot", N, np.array(3, np.int32), np.array(5.0), np.array(-5.0), axis=0)
top("eye", 3)
top("placeholder_with_default", X, None)
top("no_op", use=lambda f: [f(), tf.constant(1)])

# Types

for source in (X * 3, N, N > 0, X + 1j):
    for target in (tf.float32, tf.float16, tf.int32, tf.uint8, tf.bool, tf.complex64, tf.bfloat16):
        if not np.iscomplexobj(source) and target != tf.uint8:
            top("cast", source, target)
for name in ("to_bfloat16", "to_complex128", "to_complex64", "to_double", "to_float", "to_int32", "to_int64"):
    top(name, N)
top("saturate_cast", X * 300, tf.uint8)
top("saturate_cast", N, tf.uint8)
top("bitcast", X, tf.int64)
top("bitcast", X, tf.uint8)
top("bitcast", N.astype(np.uint8), tf.int32)
top("complex", X, X + 1, dtypes=FLOATS[:2])

# Parts

for begin, size in (([0, 1], [2, 2]), ([1, 0], [-1, 3]), ([2, 2], [5, 1])):
    top("slice", X, np.array(begin), np.array(size))
for kwargs in (
    {},
    {"begin_mask": 1},
    {"end_mask": 3},
    {"shrink_axis_mask": 2},
    {"new_axis_mask": 1},
    {"ellipsis_mask": 1},
):
    top("strided_slice", X, np.array([0, 1]), np.array([3, 4]), np.array([2, 1]), **kwargs)
top("gather", X, np.array([2, 0]))
top("gather", X, np.array([[2, 0], [1, 1]]), axis=1)
top("gather", X, np.array([[0, 1], [2, 3], [1, 0]]), batch_dims=1)
top("gather", X, np.array([3]))
top("gather_nd", X, np.array([[2, 0], [1, 1]]))
top(
    "gather_nd",
    A,
    np.array([[[0, 1]], [[1, 0]]]),
    batch_dims=1,
    use=lambda f, a, i, batch_dims: f(tf.reshape(a, [2, 3, 3]), tf.reshape(i, [2, 1, 2]), batch_dims=batch_dims),
)
top(
    "batch_gather",
    X,
    np.array([[0, 1], [2, 3], [1, 0]]),
    use=lambda f, a, i: f(tf.reshape(a, [3, 4]), tf.reshape(i, [3, 2])),
)
top("dynamic_partition", X, np.array([0, 1, 0], np.int32), 3)
top("dynamic_stitch", [np.array([0, 2], np.int32), np.array([1], np.int32)], [X[:2].copy(), X[2:].copy()])
top("where", N > 0)
for name in ("where", "where_v2"):
    top(name, N > 0, X, X * 2)
top("where_v2", N > 0, X, np.array(0.0))
top("setdiff1d", np.array([1, 2, 3, 2]), np.array([2]))
for name in ("unique", "unique_with_counts"):
    top(name, np.array([3, 1, 3, 2]), tf.int64)
    top(name, np.array(["b", "a", "b"]))
for direction in ("ASCENDING", "DESCENDING"):
    top("sort", X, -1, direction)
    top("argsort", X, 0, direction, stable=True)
for side in ("left", "right"):
    top("searchsorted", np.array([1.0, 3.0, 3.0]), np.array([0.0, 3.0, 9.0]), side)
for name in ("arg_max", "arg_min"):
    top(name, X, 1)
top("tuple", [X, N])
for name in ("identity", "stop_gradient", "guarantee_const", "grad_pass_through", "recompute_grad"):
    wrapped = name in ("grad_pass_through", "recompute_grad")
    top(name, X, use=(lambda f, x: f(lambda v: v * 2)(x)) if wrapped else None)
top("identity_n", [X, N])
top.build("custom_gradient", lambda: tf.custom_gradient(lambda v: (v * 2, lambda d: d * 7))(fed(X)))

# Scatter

AT, ROWS = np.array([[0], [2]]), X[:2].copy()
top("scatter_nd", AT, ROWS, np.array([5, 4]))
for name in sorted(n for n in dir(tf) if n.startswith("tensor_scatter_")):
    top(name, X, AT, ROWS)
for name in ("scatter_add", "scatter_sub", "scatter_mul", "scatter_div", "scatter_min", "scatter_max", "scatter_update",
             "scatter_nd_add", "scatter_nd_sub", "scatter_nd_update", "batch_scatter_update"):  # fmt: skip

    def _scattered(name: str = name, resource: bool = False) -> Any:
        with tf.variable_scope("v", use_resource=resource):
            v = tf.get_variable("v", initializer=np.ones((3, 4)))
        places = [[0], [2], [1]] if name.startswith("batch") else [[0], [2]] if "nd" in name else [0, 2]
        updates = np.ones((3, 1)) * 2 if name.startswith("batch") else ROWS
        return [getattr(tf, name)(v, tf.constant(places), fed(updates, shape=updates.shape))]

    top.build(name, _scattered, runs=2, gradients=False)
    if name not in ("scatter_nd_add", "scatter_nd_sub"):
        top.build(name, lambda f=_scattered: f(resource=True), runs=2, gradients=False)


def _variables(resource: bool) -> Any:
    with tf.variable_scope("v", use_resource=resource):
        v, n = (
            tf.get_variable("v", initializer=np.ones(3)),
            tf.get_variable("n", initializer=np.int32(0), trainable=False),
        )
        local = tf.get_local_variable("local", initializer=np.ones(2))
    steps = [tf.group(tf.assign_add(v, fed([1.0, 2.0, 3.0], shape=[3])))]
    with tf.control_dependencies(steps):
        steps.append(tf.group(tf.assign_sub(v, fed([0.5, 0.5, 0.5], shape=[3]))))
    with tf.control_dependencies(steps):
        steps.append(tf.count_up_to(n, 3))
    with tf.control_dependencies(steps):
        steps += [tf.is_variable_initialized(v), tf.report_uninitialized_variables(), tf.assign(local, [5.0, 6.0])]
        steps += [v.read_value(), n.read_value(), tf.assert_variables_initialized([v])]
    return steps


for name in ("assign", "assign_add", "assign_sub", "count_up_to", "is_variable_initialized", "get_variable", "get_local_variable",
             "report_uninitialized_variables", "assert_variables_initialized"):  # fmt: skip
    top.build(name, lambda: _variables(False), runs=4, gradients=False)
    top.build(name, lambda: _variables(True), runs=4, gradients=False)

# Space and batch

for name, shape in (("space_to_depth", IMAGE), ("depth_to_space", random.normal(size=(2, 2, 3, 8)))):
    top(name, shape, 2)
top("space_to_batch", IMAGE, [[0, 0], [1, 1]], 2)
top("space_to_batch_nd", IMAGE, [2, 3], np.array([[0, 0], [1, 2]]))
top("batch_to_space", random.normal(size=(8, 2, 3, 1)), [[0, 1], [1, 0]], block_size=2)
top("batch_to_space_nd", random.normal(size=(8, 2, 3, 1)), [2, 2], np.array([[0, 1], [1, 0]]))

# The rest

top("clip_by_value", X, -0.5, np.array(0.5))
top("clip_by_norm", X, 1.5)
top("clip_by_norm", X, 1.5, axes=[1])
top("clip_by_average_norm", X.astype(np.float32), 0.1)
top("clip_by_global_norm", [X, A], 1.5)
top("edit_distance", tf.SparseTensorValue([[0, 0], [0, 1], [1, 0]], [1, 2, 3], [2, 2]),
    tf.SparseTensorValue([[0, 0], [1, 0], [1, 1]], [1, 3, 4], [2, 2]))  # fmt: skip
top("fingerprint", np.array(["a", "bc"]))
top("histogram_fixed_width", X, np.array([-1.0, 1.0]), 5)
top("histogram_fixed_width_bins", X, np.array([-1.0, 1.0]), 5)
for name in ("div", "floor_div", "realdiv", "truncatediv", "truncatemod"):
    if name != "realdiv":
        top(name, N, np.abs(N) + 1)
    if name in ("div", "realdiv"):
        top(name, X, X + 9, dtypes=FLOATS)
top("truncatemod", X, X + 9, gradients=False)
top("norm", X)
top("hessians", X, use=lambda f, x: f(tf.reduce_sum(x**3), x), gradients=False)
top("Print", X, [X, N], "shown: ")
top("print", X, use=lambda f, x: [f("shown", x), tf.constant(1)])
top("random_crop", N, [2, 2])
top("random_gamma", [3], np.array([0.5, 2.0]), dtype=tf.float64)
top("add_check_numerics_ops", X, use=lambda f, x: [x * 2, f()])
top("verify_tensor_all_finite", X, "no")
top("verify_tensor_all_finite", X * np.nan, "no")
top("timestamp", use=lambda f: [f() > 0])
top("convert_to_tensor_or_indexed_slices", X)
top("convert_to_tensor_or_sparse_tensor", SPARSE)
top("sparse_to_dense", np.array([[0, 1], [2, 0]]), np.array([3, 2]), np.array([5.0, 6.0]), 7.0)
top("sparse_matmul", X.astype(np.float32), X.T.astype(np.float32), a_is_sparse=True)
top("string_split", np.array(["a b", "c"]))
top("substr", np.array(["abc", "d"]), np.array(0), np.array(1))
top("sparse_segment_sum", X, np.array([0, 2], np.int32), np.array([0, 0], np.int32))
for name in ("foldl", "foldr"):
    top(name, X, use=lambda f, x: f(lambda a, b: a * 0.5 + b, x))
    top(name, X, use=lambda f, x: f(lambda a, b: a * 0.5 + b, x, initializer=fed(np.ones(4)), back_prop=False))
top("scan", X, use=lambda f, x: f(lambda a, b: a * 0.5 + b, x))
top("scan", X, use=lambda f, x: f(lambda a, b: a * 0.5 + b, x, reverse=True, initializer=fed(np.ones(4))))
top("map_fn", X, use=lambda f, x: f(lambda row: tf.reduce_sum(row**2), x))
top("map_fn", [X, N], use=lambda f, x: f(lambda p: [p[0] * 2, p[1] + 1], x))
top("vectorized_map", X, use=lambda f, x: f(lambda row: tf.reduce_sum(row**2), x))
for choice in (True, False):
    top("cond", np.array(choice), X, use=lambda f, c, x: f(c, lambda: x * 2, lambda: tf.exp(x)))
for branch in (0, 2, 7):
    top("switch_case", np.array(branch, np.int32), X,
        use=lambda f, i, x: f(i, [lambda: x * 2, lambda: tf.exp(x), lambda: x - 1]))  # fmt: skip
    top("case", np.array(branch), X,
        use=lambda f, i, x: f([(i < 1, lambda: x * 2), (i < 5, lambda: tf.exp(x))], default=lambda: x - 1))  # fmt: skip
top(
    "while_loop",
    X,
    np.array(4),
    use=lambda f, x, n: f(lambda i, v: i < tf.cast(n, tf.int32), lambda i, v: (i + 1, v * 0.5 + x), [0, x]),
)
top("make_template", X, use=lambda f, x: f("t", lambda v: v * tf.get_variable("w", initializer=np.float64(3)))(x))
top("function", X, use=lambda f, x: f(lambda v: tf.where(v > 0, v, v * 2))(x))
for integer in INTS:
    top("cast", N.astype(integer), tf.float32)

io = Programs(
    tf.io,
    {
        **dict.fromkeys(("matching_files", "match_filenames_once", "read_file", "write_file", "tf_record_iterator", "write_graph"),
                        "works on files (test_files)"),
        **dict.fromkeys(("decode_proto", "encode_proto"), "test_protos"),
        **dict.fromkeys(("decode_and_crop_jpeg", "decode_bmp", "decode_gif", "decode_image", "decode_jpeg", "decode_png",
                         "decode_webp", "encode_jpeg", "encode_png", "extract_jpeg_shape", "is_jpeg"), "test_image_codec"),
        "decode_jxl": "JPEG XL needs a decoder that Pillow lacks",
    },
    tested=[tf.sparse],
)  # fmt: skip


def _examples() -> Any:
    feature = tf.train.Feature
    made = [
        tf.train.Example(features=tf.train.Features(feature={
            "x": feature(float_list=tf.train.FloatList(value=[1.5, 2.5])),
            "n": feature(int64_list=tf.train.Int64List(value=list(range(i)))),
            "s": feature(bytes_list=tf.train.BytesList(value=[b"a", b"bc"][: i % 3])),
        })).SerializeToString()
        for i in range(3)
    ]  # fmt: skip
    return np.array(made, object)


EXAMPLES = _examples()
FEATURES = {
    "x": tf.FixedLenFeature([2], tf.float32), "n": tf.VarLenFeature(tf.int64),
    "s": tf.FixedLenSequenceFeature([], tf.string, allow_missing=True), "none": tf.FixedLenFeature([], tf.int64, 7),
}  # fmt: skip
RAGGED = {"n": tf.io.RaggedFeature(tf.int64), "s": tf.io.RaggedFeature(tf.string, row_splits_dtype=tf.int64)}
io.build("parse_example", lambda: tf.io.parse_example(fed(EXAMPLES, shape=[None]), FEATURES))
io.build("parse_example", lambda: tf.io.parse_example(fed(EXAMPLES, shape=[None]), RAGGED))
io.build("parse_example", lambda: tf.io.parse_example(fed(EXAMPLES[:0], shape=[None]), FEATURES))
io.build("parse_example", lambda: tf.io.parse_example(fed([b"\xff"], shape=[None]), FEATURES))
io.build("parse_single_example", lambda: tf.io.parse_single_example(fed(EXAMPLES[2], shape=[]), FEATURES))
io.build("parse_single_example", lambda: tf.io.parse_single_example(fed(EXAMPLES[2], shape=[]), RAGGED))


def _sequences() -> Any:
    feature, lists = tf.train.Feature, tf.train.FeatureList
    made = [
        tf.train.SequenceExample(
            context=tf.train.Features(feature={"c": feature(int64_list=tf.train.Int64List(value=[i]))}),
            feature_lists=tf.train.FeatureLists(feature_list={
                "f": lists(feature=[feature(float_list=tf.train.FloatList(value=[1.0 * j, 2.0])) for j in range(i)])
            }),
        ).SerializeToString()
        for i in range(1, 4)
    ]  # fmt: skip
    return np.array(made, object)


SEQUENCES = _sequences()
CONTEXT = {"c": tf.FixedLenFeature([], tf.int64)}
STEPS = {"f": tf.FixedLenSequenceFeature([2], tf.float32)}
io.build("parse_sequence_example", lambda: tf.io.parse_sequence_example(fed(SEQUENCES, shape=[None]), CONTEXT, STEPS))
io.build(
    "parse_single_sequence_example",
    lambda: tf.io.parse_single_sequence_example(fed(SEQUENCES[1], shape=[]), CONTEXT, STEPS),
)
io("decode_base64", np.array(["YWJj", "_-8"]))
io("encode_base64", np.array([b"abc", b"\xff\xef"], object))
io("encode_base64", np.array([b"a"], object), pad=True)
io("decode_compressed", np.array([b"plain"], object))
io("decode_csv", np.array(["1,a,2.5", "3,,4"]), [[0], ["x"], [1.0]])
io("decode_csv", np.array(["1;2"]), [[0], [0]], field_delim=";", select_cols=[0, 1])
io("decode_json_example", np.array(['{"features": {"feature": {"a": {"int64List": {"value": ["3"]}}}}}']))
for target in (tf.uint8, tf.int16, tf.float32):
    io("decode_raw", np.array([b"abcdefgh", b"12345678"], object), target)
io("decode_raw", np.array([b"abcd"], object), tf.int32, little_endian=False)
for value in (X, N, np.array(["a", "b"]), X + 1j, N > 0):
    io("serialize_tensor", value, use=lambda f, v: tf.io.parse_tensor(f(v), v.dtype))
io("parse_tensor", np.array(tf.make_tensor_proto(X).SerializeToString(), object), tf.float64)
io("serialize_sparse", SPARSE, use=lambda f, s: tf.io.deserialize_many_sparse(f(s)[tf.newaxis], tf.float64))
io("serialize_many_sparse", SPARSE, use=lambda f, s: tf.io.deserialize_many_sparse(f(s), tf.float64))
io.build(
    "deserialize_many_sparse",
    lambda: tf.io.deserialize_many_sparse(tf.io.serialize_many_sparse(tf.SparseTensor(*map(fed, SPARSE))), tf.float64),
)


@pytest.mark.parametrize(("program", "options"), [*top.parameters(), *io.parameters()])
def test_program_agrees(program: Any, options: Any) -> None:
    agree(program, **options)


@pytest.mark.parametrize("programs", [top, io], ids=["tf", "io"])
def test_every_function_has_a_program(programs: Programs) -> None:
    assert programs.missing() == []
