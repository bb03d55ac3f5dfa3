"""Load the moving averages instead of the variables.

Pages teach `ExponentialMovingAverage(0.9).variables_to_restore()` for the Saver of a second graph, so that each
variable is filled from `v/ExponentialMovingAverage`. Here it is a view of the checkpoint: `averages()`.
"""

from lesson import output_folder, tensorflow

import graphrack as gr

folder = output_folder(__doc__)
tf = tensorflow()

x = tf.placeholder(tf.float32, [None], name="x")
v = tf.Variable(0.0, name="v")
tf.multiply(v, x, name="y")
average = tf.train.ExponentialMovingAverage(0.9)
with tf.control_dependencies([tf.assign_add(v, 1.0)]):
    step = average.apply([v])
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(10):
        session.run(step)
    gr.Saver().save(session, folder / "model")

checkpoint = gr.Checkpoint(folder / "model")
print("in the checkpoint:", {name: round(float(value), 4) for name, value in checkpoint.items()})
model = gr.load(folder / "model")
print("with the variable's last value: y =", model.run("y:0", {"x": [1.0]}))
model.restore(checkpoint.averages())
print("with its average:               y =", model.run("y:0", {"x": [1.0]}))
