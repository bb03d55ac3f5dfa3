"""Freeze a model: graph and values in one file.

Pages teach `convert_variables_to_constants(session, graph_def, ["result"])`, `SerializeToString`, and on the other
side `ParseFromString` and `import_graph_def`. Here it is `freeze` and `export`, and `load` on the other side;
TensorFlow reads the file as well.
"""

from lesson import output_folder, tensorflow

import graphrack as gr

folder = output_folder(__doc__)
tf = tensorflow()

with tf.Graph().as_default(), tf.Session() as session:
    v1, v2 = tf.Variable(1.0, name="v1"), tf.Variable(2.0, name="v2")
    tf.add(v1, v2, name="result")
    session.run(tf.global_variables_initializer())
    tf.train.Saver().save(session, str(folder / "model"))

path = gr.load(folder / "model").freeze("result").export(folder / "combined.pb")
frozen = gr.load(path)
print("operations:", list(frozen.operations))
print("graphrack: ", frozen.run("result:0"))

with tf.Graph().as_default(), tf.Session() as session:
    definition = tf.GraphDef.FromString((folder / "combined.pb").read_bytes())
    (result,) = tf.import_graph_def(definition, return_elements=["result:0"])
    print("TensorFlow:", session.run(result))
