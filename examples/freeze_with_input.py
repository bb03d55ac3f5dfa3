"""Freeze a model that takes an input.

Pages teach to name the placeholder, to freeze down to the output, and to find both again by name in the imported
graph. Here the frozen model says what it takes and gives, and is called like the one it was made from.
"""

import numpy as np
from lesson import MODELS, output_folder

import graphrack as gr

folder = output_folder(__doc__)
model = gr.load(MODELS / "cubic" / "model_name")
path = model.freeze("activation_opt", fold=True).export(folder / "cubic.pb")

frozen = gr.load(path)
print(frozen)
print("the model:", model(x=[1.0, 4.5, 6.0]))
print("frozen:   ", frozen(x=[1.0, 4.5, 6.0]))
np.testing.assert_allclose(frozen(x=[1.0, 4.5, 6.0]), model(x=[1.0, 4.5, 6.0]), rtol=1e-5)
