"""Two models in one graph, each from a checkpoint of its own.

Pages teach variable scopes, one Saver for the variables of each scope, and what to do about the names in
checkpoints that were saved without the scope. `restore` takes the scope: variable `model1/w` is looked for as
`w`. Below for a TensorFlow session whose graph was built in code; then without TensorFlow, where nothing has to
be built: `merge` puts two models into one graph as they are.
"""

from lesson import output_folder, tensorflow

import graphrack as gr

folder = output_folder(__doc__)
tf = tensorflow()


def line() -> None:
    """A model y = w * x + b, in the scope that is open."""
    x = tf.placeholder(tf.float32, [None], name="x")
    w, b = tf.get_variable("w", [], tf.float32), tf.get_variable("b", [], tf.float32)
    tf.add(w * x, b, name="y")


for name, values in {"model1": {"w": 2.0, "b": 1.0}, "model2": {"w": -1.0, "b": 5.0}}.items():
    with tf.Graph().as_default(), tf.Session() as session:
        line()
        for variable in tf.global_variables():
            variable.load(values[variable.op.name], session)  # a training would stand here
        tf.train.Saver().save(session, str(folder / name))

# One TensorFlow graph with both: each checkpoint fills the variables of its scope.
with tf.Graph().as_default(), tf.Session() as session:
    for name in ("model1", "model2"):
        with tf.variable_scope(name):
            line()
    gr.restore(session, folder / "model1", select="model1/*", scope="model1")
    gr.restore(session, folder / "model2", select="model2/*", scope="model2")
    print("in a session:", session.run(["model1/y:0", "model2/y:0"], {"model1/x:0": [3.0], "model2/x:0": [3.0]}))

# The same without TensorFlow.
models = {name: gr.load(folder / name) for name in ("model1", "model2")}
both = gr.merge(models, share={"x": ["model1/x:0", "model2/x:0"]})
print("merged:      ", both.run(["model1/y:0", "model2/y:0"], {"x": [3.0]}))
print("saved as     ", both.save(folder / "both"), "with", list(gr.Checkpoint(folder / "both")))
