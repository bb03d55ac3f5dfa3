from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
import tensorflow.compat.v2 as tf2
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow.python.framework import function as tf_function

from graphrack.errors import GraphError, GraphrackError
from graphrack.formats.dtypes import DTYPES, FLOAT, INT32
from graphrack.formats.graph_files import open_model_file
from graphrack.formats.protos import graph_pb2
from graphrack.formats.tensor import attr_to_proto
from graphrack.graph import functions
from graphrack.graph.functions import FunctionLibrary, function_graph, inline_functions


def ours(graph: tf.Graph) -> graph_pb2.GraphDef:
    return graph_pb2.GraphDef.FromString(graph.as_graph_def().SerializeToString())


def names_of(graph_def: graph_pb2.GraphDef) -> list[str]:
    return [node.name for node in graph_def.node]


def calls(graph_def: graph_pb2.GraphDef) -> list[str]:
    """The nodes of a graph that call functions of its library."""
    library = FunctionLibrary(graph_def.library)
    return [node.name for node in graph_def.node if library.call(node)]


def run(graph_def: graph_pb2.GraphDef, fetches, feeds=None, first=(), times=1):
    """What TensorFlow makes of a graph: `first` is run once, the fetches `times` times."""
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.import_graph_def(tf.GraphDef.FromString(graph_def.SerializeToString()), name="")
        for operation in first:
            sess.run(operation)
        return [sess.run(fetches, feeds) for _ in range(times)]


def check_inlined(graph_def: graph_pb2.GraphDef, fetches, feeds=None, first=(), times=2) -> graph_pb2.GraphDef:
    """Inlines, and lets TensorFlow run both: equal results."""
    before = graph_def.SerializeToString(deterministic=True)
    inlined = inline_functions(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before
    assert calls(graph_def)
    assert not calls(inlined)
    expected = run(graph_def, fetches, feeds, first, times)
    np.testing.assert_equal(run(inlined, fetches, feeds, first, times), expected)
    return inlined


# ---------------------------------------------------------------------------------------------------------
# SavedModels of TensorFlow 2


def check_saved_model(folder: Path, feeds: dict[str, np.ndarray]) -> graph_pb2.GraphDef:
    """Restores and runs the serving signature of a SavedModel twice, as it is and inlined, by TensorFlow."""
    file = open_model_file(folder)
    assert file.meta_graph is not None
    inlined = inline_functions(file.graph_def)
    assert calls(file.graph_def)
    assert not calls(inlined)
    signature = file.meta_graph.signature_def["serving_default"]
    fetches = {key: info.name for key, info in signature.outputs.items()}
    named = {signature.inputs[key].name: value for key, value in feeds.items()}
    results = []
    for graph_def in (file.graph_def, inlined):
        meta_graph = tf.MetaGraphDef.FromString(file.meta_graph.SerializeToString())
        meta_graph.graph_def.ParseFromString(graph_def.SerializeToString())
        with tf.Graph().as_default(), tf.Session() as sess:
            tf.train.import_meta_graph(meta_graph)
            saver = meta_graph.saver_def
            sess.run(saver.restore_op_name, {saver.filename_tensor_name: file.prefix})
            if "__saved_model_init_op" in meta_graph.signature_def:
                init = meta_graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"]
                sess.run(init.name, file.assets)
            results.append([sess.run(fetches, named) for _ in range(2)])
    np.testing.assert_equal(results[1], results[0])
    return inlined


class Counter(tf2.Module):
    def __init__(self):
        super().__init__()
        self.w = tf2.Variable(np.linspace(-1, 1, 12).reshape(4, 3).astype(np.float32))
        self.count = tf2.Variable(0)

    @tf2.function
    def layer(self, x):
        self.count.assign_add(1)
        return tf2.nn.relu(x @ self.w), tf2.reduce_sum(x)


class Nested(tf2.Module):
    """Calls in calls, state that they change in turn, branches and loops."""

    def __init__(self):
        super().__init__()
        self.inner = Counter()
        self.b = tf2.Variable(np.ones(3, np.float32))

    @tf2.function(input_signature=[tf2.TensorSpec([None, 4], tf2.float32, name="x")])
    def serve(self, x):
        y, total = self.inner.layer(x)
        before = self.inner.count.read_value()
        if total > 0:
            y = y * 2
        else:
            y = -self.inner.layer(-x)[0]
        for i in tf2.range(3):
            y = y + tf2.cast(i, tf2.float32) * self.inner.layer(x)[0]
        z, _ = self.inner.layer(x + 1)
        parts = tf2.split(z, 3, axis=1)
        values, indices = tf2.math.top_k(z, 2)
        return {
            "y": y + self.b,
            "z": z,
            "before": before,
            "after": self.inner.count.read_value(),
            "text": tf2.strings.as_string(total),
            "last": parts[2],
            "values": values,
            "indices": indices,
        }


@pytest.fixture(scope="module")
def nested(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nested")
    module = Nested()
    tf2.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def test_nested_functions_with_state_give_tensorflow_s_results(nested):
    random = np.random.RandomState(0)
    for sign in (1, -1):
        x = sign * np.abs(random.randn(2, 4)).astype(np.float32)
        inlined = check_saved_model(nested, {"x": x})
    # What If and While need stays in the library.
    kept = {node.op for node in inlined.node} & {"If", "While", "StatelessIf", "StatelessWhile"}
    assert kept == {"If", "While"}
    assert inlined.library.function


def test_a_keras_model_gives_tensorflow_s_results(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = tf2.keras
        inputs = keras.Input((8, 8, 1), name="image")
        h = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
        h = keras.layers.BatchNormalization()(h)
        h = keras.layers.Flatten()(h)
        h = keras.layers.Dropout(0.5)(h)
        inner = keras.Sequential([keras.layers.Dense(5, activation="gelu"), keras.layers.LayerNormalization()])
        model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(inner(h)))
        model.export(str(tmp_path / "model"), verbose=False)
    check_saved_model(tmp_path / "model", {"image": np.random.RandomState(1).rand(2, 8, 8, 1).astype("f")})


def test_a_table_that_a_function_initialises_works(tmp_path):
    (tmp_path / "words.txt").write_text("one\ntwo\n")

    class Lookup(tf2.Module):
        def __init__(self):
            super().__init__()
            self.table = tf2.lookup.StaticHashTable(
                tf2.lookup.TextFileInitializer(
                    str(tmp_path / "words.txt"),
                    tf2.string,
                    tf2.lookup.TextFileIndex.WHOLE_LINE,
                    tf2.int64,
                    tf2.lookup.TextFileIndex.LINE_NUMBER,
                ),
                -1,
            )

        @tf2.function(input_signature=[tf2.TensorSpec([None], tf2.string, name="words")])
        def serve(self, words):
            return {"ids": self.table.lookup(words)}

    module = Lookup()
    tf2.saved_model.save(module, str(tmp_path / "model"), signatures={"serving_default": module.serve})
    check_saved_model(tmp_path / "model", {"words": np.array([b"two", b"none"], object)})


def test_what_took_or_fetched_the_call_s_outputs_still_does(nested):
    file = open_model_file(nested)
    inlined = inline_functions(file.graph_def)
    before = {node.name for node in file.graph_def.node}
    nodes = {node.name: node for node in inlined.node}
    assert len(nodes) == len(inlined.node)
    assert before <= nodes.keys()
    names = [file.graph_def.node[i].name for i in range(len(before))]
    for name in names:
        assert nodes[name].op in ("Identity", "IdentityN", "NoOp") or name not in calls(file.graph_def)


# ---------------------------------------------------------------------------------------------------------
# Functions of TensorFlow 1, and graphs around calls


def test_a_graph_without_functions_is_returned_as_it_is():
    graph_def = graph_pb2.GraphDef(node=[{"name": "a", "op": "NoOp"}])
    assert inline_functions(graph_def) is graph_def
    graph_def.library.function.add().signature.name = "unused"
    assert inline_functions(graph_def) is graph_def


def test_a_call_by_the_function_s_name_is_inlined():
    @tf_function.Defun(tf.float32, tf.float32)
    def polynomial(x, y):
        return x * y + 3.0, x - y

    @tf_function.Defun(tf.float32)
    def outer(x):
        a, b = polynomial(x, 2.0)
        return a + b

    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None], name="x")
        tf.identity(outer(x), name="y")
        a, b = polynomial(x, x)
        tf.stack([a, b], name="z")
    inlined = check_inlined(ours(graph), ["y:0", "z:0"], {"x:0": [1.0, 5.0]})
    assert any(name.startswith("outer_") and "/polynomial_" in name for name in names_of(inlined))


def test_what_a_call_waits_for_happens_before_the_body_reads_state():
    with tf.Graph().as_default() as graph:
        v = tf.get_variable("v", initializer=1.0, use_resource=True)

        @tf2.function
        def read_twice(factor):
            return v.read_value() * factor

        set_it = v.assign_add(10.0, name="set_it", read_value=False)
        also = v.assign_add(100.0, name="also", read_value=False)
        with tf.control_dependencies([set_it, also]):
            tf.identity(read_twice(2.0), name="y")
        with tf.control_dependencies([set_it]):
            tf.identity(read_twice(3.0), name="once")
        tf.global_variables_initializer()
    inlined = check_inlined(ours(graph), "y:0", first=["init"], times=3)
    assert run(inlined, "y:0", first=["init"], times=2) == [222.0, 442.0]
    assert run(inlined, "once:0", first=["init"]) == [33.0]


def test_what_waits_for_a_call_comes_after_the_body_s_effects():
    with tf.Graph().as_default() as graph:
        v = tf.get_variable("v", initializer=1.0, use_resource=True)

        @tf2.function
        def bump(by):
            v.assign_add(by)
            return by * 2

        @tf2.function
        def bump_only(by):
            v.assign_add(by)

        first = bump(5.0)
        with tf.control_dependencies([first]):
            tf.identity(v.read_value(), name="y")
        bump_only(tf.constant(7.0))
        call = next(op for op in reversed(graph.get_operations()) if "Call" in op.type)
        assert not call.outputs
        with tf.control_dependencies([call]):
            tf.identity(v.read_value(), name="z")
        name, nothing = first.op.inputs[0].op.name, call.name
        tf.global_variables_initializer()
    graph_def = ours(graph)
    inlined = check_inlined(graph_def, "y:0", first=["init"], times=3)
    assert run(inlined, "y:0", first=["init"], times=2) == [6.0, 11.0]
    assert run(inlined, "z:0", first=["init"], times=2) == [8.0, 15.0]
    # Fetching the call runs what it does, outputs wanted or not.
    assert {n.name: n.op for n in inlined.node}[nothing] == "NoOp"
    assert run(inlined, "v/Read/ReadVariableOp:0", first=["init", nothing, nothing]) == [15.0]
    assert name in {n.name for n in inlined.node}


def test_effects_of_functions_without_control_outputs_happen():
    with tf.Graph().as_default() as graph:
        v = tf.get_variable("v", initializer=1.0, use_resource=True)

        @tf_function.Defun(tf.resource, tf.float32)
        def bump(handle, by):
            tf.raw_ops.AssignAddVariableOp(resource=handle, value=by)
            return by * 2

        tf.identity(bump(v.handle, 5.0), name="y")
        tf.global_variables_initializer()
    graph_def = ours(graph)
    for function in graph_def.library.function:
        function.control_ret.clear()
        del function.signature.control_output[:]
    inlined = inline_functions(graph_def)
    assert run(inlined, "v/Read/ReadVariableOp:0", first=["init", "y", "y"]) == [11.0]


def test_calls_in_loops_and_branches_of_tensorflow_1_stay_inside_them():
    tf.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:

            @tf_function.Defun(tf.float32)
            def step(x):
                return x * 2.0 + tf.constant(1.0)

            @tf_function.Defun()
            def seven():
                return tf.constant(7.0)

            x = tf.placeholder(tf.float32, [], name="x")
            _, y = tf.while_loop(lambda i, _: i < 4, lambda i, y: (i + 1, tf.reshape(step(step(y)), [])), [0, x])
            tf.identity(y, name="y")
            tf.identity(tf.cond(x > 0, lambda: step(x) + seven(), lambda: -x), name="z")
            assert any(op.type == "Enter" for op in graph.get_operations())
    finally:
        tf.enable_control_flow_v2()
    for value in (3.0, -2.0):
        check_inlined(ours(graph), ["y:0", "z:0"], {"x:0": value})


def test_loops_of_tensorflow_1_in_a_function_wait_for_what_the_call_waits_for():
    tf.disable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            v = tf.get_variable("v", initializer=1.0, use_resource=True)

            @tf_function.Defun(tf.resource, tf.float32)
            def loop(handle, x):
                def body(i, y):
                    return i + 1, y + tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32)

                return tf.while_loop(lambda i, _: i < 4, body, [0, x])[1]

            with tf.control_dependencies([v.assign_add(1.0, read_value=False)]):
                tf.identity(loop(v.handle, 3.0), name="y")
            tf.global_variables_initializer()
    finally:
        tf.enable_control_flow_v2()
    graph_def = ours(graph)
    assert any(node.op == "Enter" for node in graph_def.library.function[0].node_def)
    inlined = check_inlined(graph_def, "y:0", first=["init"], times=3)
    assert run(inlined, "y:0", first=["init"], times=2) == [11.0, 15.0]


# ---------------------------------------------------------------------------------------------------------
# FunctionDefs by hand


def make_function(name, inputs, outputs, nodes, ret, attrs=(), control=None) -> graph_pb2.FunctionDef:
    """Nodes are (name, op, inputs, attributes); an attribute "$T" is a placeholder."""
    function = graph_pb2.FunctionDef(ret=ret, control_ret=control or {})
    signature = function.signature
    signature.name = name
    signature.control_output.extend(control or {})
    for args, to in ((inputs, signature.input_arg), (outputs, signature.output_arg)):
        for arg, kind in args.items():
            to.add(name=arg, **kind)
    for attr, kind in dict(attrs).items():
        signature.attr.add(name=attr, type=kind)
    for node, op, ins, values in nodes:
        made = function.node_def.add(name=node, op=op, input=ins)
        for key, value in values.items():
            placeholder = isinstance(value, str) and value.startswith("$")
            made.attr[key].CopyFrom(graph_pb2.AttrValue(placeholder=value[1:]) if placeholder else attr_to_proto(value))
    return function


def graph_with(functions, nodes) -> graph_pb2.GraphDef:
    graph_def = graph_pb2.GraphDef(library={"function": functions})
    graph_def.versions.producer = 1882
    for name, op, inputs, attrs in nodes:
        made = graph_def.node.add(name=name, op=op, input=inputs)
        for key, value in attrs.items():
            made.attr[key].CopyFrom(value if isinstance(value, graph_pb2.AttrValue) else attr_to_proto(value))
    return graph_def


def const(name: str, value, dtype=np.float32):
    array = np.array(value, dtype)
    return name, "Const", [], {"value": array, "dtype": {"float32": FLOAT, "int32": INT32}[array.dtype.name]}


DOUBLE = make_function(
    "Double",
    {"x": {"type_attr": "T"}},
    {"y": {"type_attr": "T"}},
    [("sum", "Add", ["x", "x:0"], {"T": "$T"})],
    {"y": "sum:z:0"},
    {"T": "type"},
)


def run_inlined(graph_def: graph_pb2.GraphDef, fetches):
    """What TensorFlow makes of an inlined graph, whose library nothing needs any more.

    TensorFlow's Python takes no graph with functions whose types are attributes, but its runtime does.
    """
    inlined = inline_functions(graph_def)
    assert not calls(inlined)
    alone = graph_pb2.GraphDef(node=inlined.node, versions=inlined.versions)
    return run(alone, fetches)[0]


def test_attributes_of_the_call_fill_the_function_s_placeholders():
    graph_def = graph_with(
        [DOUBLE],
        [const("f", 1.5), const("i", 3, np.int32), ("a", "Double", ["f"], {"T": FLOAT}),
         ("b", "Double", ["i"], {"T": INT32})],
    )  # fmt: skip
    assert run_inlined(graph_def, ["a:0", "b:0"]) == [3.0, 6]


def test_placeholders_reach_functions_that_a_function_passes_on():
    through = make_function(
        "Through",
        {"x": {"type_attr": "T"}},
        {"y": {"type_attr": "T"}},
        [("call", "PartitionedCall", ["x"], {})],
        {"y": "call:output:0"},
        {"T": "type"},
    )
    attr = through.node_def[0].attr
    attr["f"].func.name = "Double"
    attr["f"].func.attr["T"].placeholder = "T"
    attr["Tin"].list.type.append(1)
    attr["Tout"].list.type.append(1)
    graph_def = graph_with([DOUBLE, through], [const("f", 1.5), ("a", "Through", ["f"], {"T": FLOAT})])
    assert run_inlined(graph_def, "a:0") == 3.0


def test_list_arguments_and_outputs_stand_for_all_their_tensors():
    lists = make_function(
        "Lists",
        {"n": {"type": 3}, "xs": {"type": 1, "number_attr": "N"}, "ts": {"type_list_attr": "Ts"}},
        {"both": {"type_list_attr": "Ts"}, "top": {"type": 1}, "where": {"type": 3}},
        [
            ("pack", "Pack", ["xs"], {"N": "$N", "T": FLOAT, "axis": 0}),
            ("top", "TopKV2", ["pack:output:0", "n"], {"T": FLOAT}),
            ("all", "IdentityN", ["ts:0", "ts:1"], {"T": "$Ts"}),
            ("again", "IdentityN", ["all:output"], {"T": "$Ts"}),
            ("zero", "Const", [], {"value": np.array(0, np.int32), "dtype": INT32}),
            ("best", "GatherV2", ["top:values", "zero:output:0", "zero:output:0"],
             {"Tparams": FLOAT, "Tindices": INT32, "Taxis": INT32}),
        ],
        {"both": "again:output", "top": "best:output:0", "where": "top:indices:0"},
        {"N": "int", "Ts": "list(type)"},
    )  # fmt: skip
    graph_def = graph_with(
        [lists],
        [
            const("k", 2, np.int32), const("a", 1), const("b", 9), const("c", 5), const("i", 7, np.int32),
            ("call", "Lists", ["k", "a", "b", "c", "c", "i"], {"N": 3, "Ts": [FLOAT, INT32]}),
        ],
    )  # fmt: skip
    results = run_inlined(graph_def, ["call:0", "call:1", "call:2", "call:3"])
    assert [np.asarray(r).tolist() for r in results] == [5.0, 7, 9.0, [1, 2]]
    inlined = inline_functions(graph_def)
    assert next(n for n in inlined.node if n.name == "call").op == "IdentityN"


def test_defaults_of_a_function_s_attributes_count():
    function = graph_pb2.FunctionDef()
    function.CopyFrom(DOUBLE)
    function.signature.attr[0].default_value.type = 1
    assert run_inlined(graph_with([function], [const("f", 2.0), ("a", "Double", ["f"], {})]), "a:0") == 4


def test_an_argument_handed_back_is_the_caller_s_tensor():
    swap = make_function(
        "Swap", {"a": {"type": 1}, "b": {"type": 1}}, {"x": {"type": 1}, "y": {"type": 1}}, [], {"x": "b", "y": "a:0"}
    )  # fmt: skip
    graph_def = graph_with([swap], [const("p", 1), const("q", 2), ("s", "Swap", ["p", "q:0"], {})])
    check_inlined(graph_def, ["s:0", "s:1"])


def test_names_that_are_taken_are_not_taken_again():
    graph_def = graph_with(
        [DOUBLE],
        [const("f", 2.0), const("a/sum", 5.0), ("a", "Double", ["f"], {"T": FLOAT})],
    )
    inlined = inline_functions(graph_def)
    assert len({n.name for n in inlined.node}) == len(inlined.node)
    assert run_inlined(graph_def, ["a:0", "a/sum:0"]) == [4.0, 5.0]


def test_a_control_input_on_an_argument_is_one_on_the_caller_s_node():
    waits = make_function(
        "Waits",
        {"x": {"type": 1}},
        {"y": {"type": 1}},
        [("one", "Const", ["^x"], {"value": np.array(1, np.float32), "dtype": FLOAT})],
        {"y": "one:output:0"},
    )
    graph_def = graph_with(
        [waits],
        [const("a", [3, 1]), const("k", 1, np.int32), ("top", "TopKV2", ["a", "k"], {"T": FLOAT}),
         ("w", "Waits", ["top:0"], {})],
    )  # fmt: skip
    inlined = inline_functions(graph_def)
    assert list(next(n for n in inlined.node if n.name == "w/one").input) == ["^top"]
    assert run_inlined(graph_def, "w:0") == 1.0


def test_placement_hints_of_a_body_are_dropped():
    function = graph_pb2.FunctionDef()
    function.CopyFrom(DOUBLE)
    function.node_def[0].attr["_class"].list.s.append(b"loc:@x")
    graph_def = graph_with([function], [const("f", 2.0), ("a", "Double", ["f"], {"T": FLOAT})])
    assert not [n for n in inline_functions(graph_def).node if "_class" in n.attr]
    assert function.node_def[0].attr["_class"].list.s


def test_ops_that_only_the_graph_itself_defines_are_known_by_its_list():
    custom = graph_pb2.OpDef(name="Custom")
    custom.output_arg.add(name="first", type=1)
    custom.output_arg.add(name="second", type=1)
    function = make_function("F", {}, {"y": {"type": 1}}, [("c", "Custom", [], {})], {"y": "c:second:0"})
    graph_def = graph_with([function], [("f", "F", [], {})])
    nodes = {n.name: n for n in inline_functions(graph_def, [custom]).node}
    assert list(nodes["f"].input)[:1] == ["f/c:1"]
    # Without its definition the graph still opens: the op is missing only where it is needed.
    assert {n.op for n in inline_functions(graph_def).node} == {"Custom", "Identity"}


# ---------------------------------------------------------------------------------------------------------
# Functions as graphs


def test_branches_and_bodies_become_graphs_that_compute_what_they_do(nested):
    file = open_model_file(nested)
    inlined = inline_functions(file.graph_def)
    library = FunctionLibrary(inlined.library)
    branch = next(n for n in inlined.node if n.op == "If").attr["else_branch"].func
    body = library.graph(branch.name)
    assert body is library.graph(branch.name)
    assert not body.graph_def.library.function
    assert not [n for n in body.graph_def.node if library.call(n)]
    assert body.control_outputs
    types = [n.attr["dtype"].type for n in body.graph_def.node if n.op == "Placeholder"]
    assert types == [a.type for a in library.functions[branch.name].signature.input_arg]
    assert len(body.inputs) == len(types)
    nodes = {n.name for n in body.graph_def.node}
    assert {name.partition(":")[0] for name in (*body.inputs, *body.outputs)} <= nodes
    assert set(body.control_outputs) <= nodes


def test_a_function_s_graph_is_fed_and_fetched_by_its_names():
    with tf.Graph().as_default() as graph:

        @tf2.function
        def f(x, y):
            return tf.math.top_k(x, y)

        f(tf.placeholder(tf.float32, [None], name="x"), 2)
    graph_def = ours(graph)
    name = graph_def.library.function[0].signature.name
    made = function_graph(graph_def.library, name)
    assert len(made.inputs) + len(made.outputs) >= 3
    feeds = dict(zip(made.inputs, [[1.0, 4.0, 3.0], 2], strict=False))
    [(values, indices)] = run(made.graph_def, list(made.outputs), feeds)
    assert values.tolist() == [4.0, 3.0]
    assert indices.tolist() == [1, 2]


def test_attributes_may_be_given_decoded_or_as_protos():
    library = graph_pb2.FunctionDefLibrary(function=[DOUBLE])
    for value in (INT32, attr_to_proto(INT32)):
        made = function_graph(library, "Double", {"T": value})
        assert made.inputs == ("x:0",)
        assert made.outputs == ("sum:0",)
        assert run(made.graph_def, made.outputs[0], {"x:0": 4}) == [8]
    both = FunctionLibrary(library)
    assert both.graph("Double", {"T": FLOAT}) is not both.graph("Double", {"T": INT32})


def test_shapes_that_a_function_states_for_its_arguments_are_kept():
    function = graph_pb2.FunctionDef()
    function.CopyFrom(DOUBLE)
    function.arg_attr[0].attr["_output_shapes"].list.shape.add().dim.add(size=-1)
    library = graph_pb2.FunctionDefLibrary(function=[function])
    made = function_graph(library, "Double", {"T": FLOAT})
    assert [d.size for d in made.graph_def.node[0].attr["shape"].shape.dim] == [-1]
    assert (
        function_graph(graph_pb2.FunctionDefLibrary(function=[DOUBLE]), "Double", {"T": FLOAT})
        .graph_def.node[0]
        .attr["shape"]
        .shape.unknown_rank
    )


# ---------------------------------------------------------------------------------------------------------
# Broken and hostile


def calling(name: str, *callees: str) -> graph_pb2.FunctionDef:
    nodes = [(f"c{i}", callee, ["x"], {}) for i, callee in enumerate(callees)]
    ret = {"y": "c0:y:0" if callees else "x"}
    return make_function(name, {"x": {"type": 1}}, {"y": {"type": 1}}, nodes, ret)


def test_recursion_is_an_error_that_shows_the_cycle():
    graph_def = graph_with([calling("A", "B"), calling("B", "A")], [const("f", 1), ("a", "A", ["f"], {})])
    with pytest.raises(GraphError, match="A -> B -> A"):
        inline_functions(graph_def)
    with pytest.raises(GraphError, match="B -> A -> B"):
        function_graph(graph_def.library, "B")


def test_calls_that_double_with_each_level_are_stopped(monkeypatch):
    monkeypatch.setattr(functions, "_MAX_NODES", 5000)
    chain = [calling(f"F{i}", f"F{i + 1}", f"F{i + 1}") for i in range(60)] + [calling("F60")]
    graph_def = graph_with(chain, [const("f", 1), ("a", "F0", ["f"], {})])
    with pytest.raises(GraphError, match="over 5000"):
        inline_functions(graph_def)


def test_a_long_chain_of_calls_is_followed_and_an_endless_one_refused():
    chain = [calling(f"F{i}", f"F{i + 1}") for i in range(400)] + [calling("F400")]
    deep = graph_with(chain, [const("f", 1), ("a", "F250", ["f"], {})])
    assert run(inline_functions(deep), "a:0") == [1.0]
    with pytest.raises(GraphError, match="200"):
        inline_functions(graph_with(chain, [const("f", 1), ("a", "F0", ["f"], {})]))


BROKEN = {
    "a function that isn't there": (
        graph_with([DOUBLE], [const("f", 1), ("a", "PartitionedCall", ["f"], {})]),
        "no function ''",
    ),
    "one that another lacks": (
        graph_with([calling("A", "B"), make_function("B", {"x": {"type": 1}}, {"y": {"type": 1}}, [], {"y": "z"})],
                   [const("f", 1), ("a", "A", ["f"], {})]),
        "'B' takes 'z', which is neither an argument nor a node",
    ),
    "too few inputs": (
        graph_with([DOUBLE], [("a", "Double", [], {"T": FLOAT})]),
        "1 argument tensors with 0 inputs",
    ),
    "an attribute that the call lacks": (
        graph_with([DOUBLE], [const("f", 1), ("a", "Double", ["f"], {})]),
        "lacks its attribute 'T'",
    ),
    "an output that the op lacks": (
        graph_with(
            [make_function("A", {"x": {"type": 1}}, {"y": {"type": 1}}, [("n", "Neg", ["x"], {"T": FLOAT})],
                           {"y": "n:z:0"})],
            [const("f", 1), ("a", "A", ["f"], {})]),
        r"takes 'n:z:0', but the outputs of 'n' \(Neg\) are: 'y' \(1 tensors\)",
    ),
    "an output number that the op lacks": (
        graph_with(
            [make_function("A", {"x": {"type": 1}}, {"y": {"type": 1}}, [("n", "Neg", ["x"], {"T": FLOAT})],
                           {"y": "n:y:1"})],
            [const("f", 1), ("a", "A", ["f"], {})]),
        "takes 'n:y:1'",
    ),
    "an output without a value": (
        graph_with([make_function("A", {"x": {"type": 1}}, {"y": {"type": 1}}, [], {})],
                   [const("f", 1), ("a", "A", ["f"], {})]),
        "neither an argument nor a node",
    ),
    "a control input on nothing": (
        graph_with(
            [make_function("A", {"x": {"type": 1}}, {"y": {"type": 1}}, [("n", "NoOp", ["^gone"], {})], {"y": "x"})],
            [const("f", 1), ("a", "A", ["f"], {})]),
        r"takes '\^gone'",
    ),
    "a control output that is nothing": (
        graph_with([make_function("A", {"x": {"type": 1}}, {"y": {"type": 1}}, [], {"y": "x"}, control={"c": "gone"})],
                   [const("f", 1), ("a", "A", ["f"], {})]),
        "control output 'gone'",
    ),
    "more tensors than the output has": (
        graph_with(
            [make_function("A", {"x": {"type": 1}}, {"y": {"type": 1}},
                           [("n", "IdentityN", ["x", "x"], {"T": [FLOAT, FLOAT]})], {"y": "n:output"})],
            [const("f", 1), ("a", "A", ["f"], {})]),
        "its output 'y' is 1 tensors",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("graph_def", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_function_is_an_error_that_says_what_is_wrong(graph_def, words):
    with pytest.raises(GraphError, match=words):
        inline_functions(graph_def)


@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_library_gives_a_graph_or_a_graphrack_error(nested, data):
    graph_def = open_model_file(nested).graph_def
    damaged = bytearray(graph_def.SerializeToString(deterministic=True))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(32, 126))
    try:
        broken = graph_pb2.GraphDef.FromString(bytes(damaged))
    except DecodeError:
        return
    try:
        result = inline_functions(broken)
        library = FunctionLibrary(broken.library)
        for name in list(library.functions)[:5]:
            library.graph(name)
    except GraphrackError:
        return
    assert isinstance(result, graph_pb2.GraphDef)


def test_a_missing_function_comes_with_the_closest_names():
    library = graph_pb2.FunctionDefLibrary(function=[DOUBLE])
    with pytest.raises(GraphError, match="no function 'Dooble'; closest: 'Double'"):
        function_graph(library, "Dooble")


def test_every_type_can_be_handed_through_a_function():
    for number in (n for n in DTYPES if n not in (20, 21)):
        graph_def = graph_with([DOUBLE], [("p", "Placeholder", [], {"dtype": DTYPES[number]}),
                                          ("a", "Double", ["p"], {"T": DTYPES[number]})])  # fmt: skip
        assert inline_functions(graph_def).node[-1].attr["T"].type == number
