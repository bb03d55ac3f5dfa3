"""Many models of one structure in one process.

Their variables have the same names, so that TensorFlow needs a `Graph` and a `Session` for each, and care with
which one is the default. Here each is a model of its own and nothing is shared that one could mix up; what
can be shared without being seen, is: five models of one structure are planned once.
"""

import numpy as np
from digits import accuracy, held_back, vote
from lesson import MODELS, output_folder

import graphrack as gr

folder = output_folder(__doc__)
test = held_back()

with gr.Rack({f"seed {i}": MODELS / f"digits_mlp_{i}" / "model_name" for i in range(5)}) as rack:
    answers = rack.run_all({"x": test.pixels})
    for name, probabilities in answers.items():
        weights = rack[name].variables["Variable"]
        print(f"{name}: {accuracy(probabilities, test.labels):.1%} right; its first weight is {weights[0, 0]:+.3f}")
    voted = vote(np.stack(list(answers.values())))
    print(f"their vote: {accuracy(voted, test.labels):.1%} right")

# The same as one graph with one input, in one file that needs no Python to be run.
models = {f"m{i}": gr.load(MODELS / f"digits_mlp_{i}" / "model_name") for i in range(5)}
together = gr.merge(models, share={"x": [f"{name}/x:0" for name in models]}, join={"digit": "vote"})
path = together.freeze("digit").export(folder / "vote.pb")
print(f"{path}: {accuracy(gr.load(path)(x=test.pixels), test.labels):.1%} right")
