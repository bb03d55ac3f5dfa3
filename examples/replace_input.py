"""Replace a model's input: by a constant, and by a new placeholder.

Pages teach `import_graph_def(graph_def, input_map={"input:0": tf.constant(4.0)})`, and the same with a placeholder of
another name and shape. `bind` takes values, specs of new placeholders, and other tensors of the graph.
"""

from lesson import MODELS, output_folder

import graphrack as gr

folder = output_folder(__doc__)
model = gr.load(MODELS / "cubic" / "model_name")
print("as it is:        ", model(x=4.5))

constant = model.bind({"x:0": 4.5})
print("with a constant: ", constant.run("activation_opt:0"))

lengths = model.inputs["x"]._replace(name="lengths", shape=(None,))  # of a shape, which the old one has not
placeholder = model.bind({"x:0": lengths})
print("a new placeholder", placeholder.run("activation_opt:0", {"lengths:0": [1.0, 4.5]}))

path = constant.freeze("activation_opt").export(folder / "constant.pb")
print("frozen, no input:", gr.load(path).run("activation_opt:0"), gr.load(path).inputs)
