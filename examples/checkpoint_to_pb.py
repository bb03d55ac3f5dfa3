"""From a checkpoint to a `.pb` file on the command line.

Pages teach TensorFlow's `freeze_graph` script, which needs the graph's file, the checkpoint, the names of the outputs
and half a dozen other options. `graphrack freeze` needs the prefix and where to write to.
"""

import subprocess
import sys

from lesson import MODELS, output_folder


def graphrack(*arguments: object) -> None:
    """Shows a command and runs it."""
    print("$ graphrack", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "graphrack", *map(str, arguments)], check=True)


folder = output_folder(__doc__)
prefix = MODELS / "cubic" / "model_name"
graphrack("freeze", prefix, "-o", folder / "cubic.pb", "--outputs", "activation_opt")
graphrack("run", prefix, folder / "cubic.pb", "--feed", "x=[1,4.5,6]")
graphrack("convert", prefix, folder / "cubic.safetensors", "--exclude", "*/Adam*", "--exclude", "beta?_power")
graphrack("diff", folder / "cubic.safetensors", prefix)
