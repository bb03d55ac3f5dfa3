"""Restore variables under other names than those they were saved by.

Pages teach `tf.train.Saver({"v1": v3, "v2": v4})`: a dictionary from saved names to variables, made in the program
that builds the graph. Here `restore` takes the names, for any model, and says which are missing if some are.
"""

from lesson import output_folder, tensorflow

import graphrack as gr

folder = output_folder(__doc__)
tf = tensorflow()

with tf.Graph().as_default(), tf.Session() as session:
    v1, v2 = tf.Variable([1.0, 2.0], name="v1"), tf.Variable([10.0, 20.0], name="v2")
    session.run(tf.global_variables_initializer())
    tf.train.Saver().save(session, str(folder / "old"))

with tf.Graph().as_default():
    v3, v4 = tf.Variable(tf.zeros([2]), name="other-v1"), tf.Variable(tf.zeros([2]), name="other-v2")
    tf.add(v3, v4, name="result")
    tf.train.Saver()
    tf.train.export_meta_graph(str(folder / "new.meta"))

model = gr.load(folder / "new.meta")  # a graph; values are still to come
try:
    model.restore(folder / "old")
except gr.RestoreError as error:
    print("without the names:", error)
model.restore(folder / "old", rename={"v1": "other-v1", "v2": "other-v2"})
print("result:", model.run("result:0"))

# Or once for all: a checkpoint with the new names.
gr.save_checkpoint(folder / "renamed", gr.Checkpoint(folder / "old").rename({"v1": "other-v1", "v2": "other-v2"}))
print("renamed:", list(gr.Checkpoint(folder / "renamed")))
