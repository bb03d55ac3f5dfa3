"""Use a trained model again, by a collection or by the names of its operations.

Pages teach `import_meta_graph`, a session, `restore`, and then `get_collection("activation")[0]` or
`get_operation_by_name("activation_opt").outputs[0]` to have something to run. Here the model is opened by its
prefix; collections and operations are on it, and a call without names finds the output by itself.
"""

from lesson import MODELS, output_folder

import graphrack as gr

folder = output_folder(__doc__)
model = gr.load(MODELS / "cubic" / "model_name")

by_collection = model.collections["activation"][0]
by_operation = model.operations["activation_opt"].outputs[0]
print("in the collection:", by_collection)
print("by the operation: ", by_operation)

feeds = {"x:0": [1.0, 4.5, 6.0]}  # petals' lengths in cm
print("by collection:", model.run(by_collection, feeds))
print("by name:      ", model.run("activation_opt:0", feeds))
print("by a call:    ", model(x=[1.0, 4.5, 6.0]))

saved = model.save(folder / "model_name")  # and on to wherever it is needed
print("saved again as", saved, "with", len(gr.Checkpoint(saved)), "tensors")
