"""Models from models of TensorFlow 2: functions, resources, an object graph.

In a process of its own: TensorFlow runs eagerly there, which it can't beside the other tests.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SCRIPT = """
import sys
import numpy as np
import tensorflow as tf
import graphrack as gr

folder = sys.argv[1]
X = np.ones((2, 3), np.float32)

class Module(tf.Module):
    def __init__(self):
        self.w = tf.Variable(np.full((3, 2), 2.0, np.float32), name="w")
        self.calls = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def f(self, x):
        self.calls.assign_add(1.0)
        y, i = tf.matmul(x, self.w), tf.constant(0)
        while i < 3:
            y = y - self.w[0] if tf.reduce_sum(y) > 50.0 else y * self.w[1]
            i += 1
        return {"y": y}

module = Module()
wanted = module.f(X)["y"].numpy()
tf.saved_model.save(module, folder + "/given", signatures=module.f)
model = gr.load(folder + "/given")
x, y = model.inputs["x"], model.outputs["y"]

def check(name, key="y"):
    loaded = tf.saved_model.load(f"{folder}/{name}")
    found = loaded.signatures["serving_default"](tf.constant(X))
    np.testing.assert_allclose(found[key], wanted, rtol=1e-6, err_msg=name)

model.export(folder + "/copy")
check("copy")
copy = tf.saved_model.load(folder + "/copy")
np.testing.assert_allclose(copy.f(X)["y"], wanted, rtol=1e-6)
frozen = model.freeze("y")
assert not {op.type for op in frozen.operations.values()} & {"VarHandleOp", "ReadVariableOp", "AssignAddVariableOp"}
frozen.export(folder + "/frozen")
check("frozen")
model.bind({"x": gr.TensorSpec("z", x.dtype, (2, 3))}).export(folder + "/bound")
check("bound")
merged = gr.merge({"a": model, "b": model}, share={"x": ["a/" + x.name, "b/" + x.name]},
                  join={"both": ("mean", ["a/" + y.name, "b/" + y.name])})
merged.export(folder + "/merged")
check("merged", "both")
"""


def test_tensorflow_2_loads_what_is_made_of_its_own_saved_models(tmp_path: Path) -> None:
    script = tmp_path / "script.py"  # a file: TensorFlow reads its functions' source
    script.write_text(_SCRIPT)
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
