"""What each op computes, grouped as TensorFlow's documentation groups them."""

MODULES: tuple[str, ...] = (
    "activation",
    "arithmetic",
    "array",
    "cast",
    "comparison",
    "conv",
    "conv_grad",
    "gather",
    "joining",
    "math",
    "matmul",
    "pool",
    "random",
    "random_stateless",
    "reduction",
    "shape",
    "slicing",
    "selection",
    "padding",
    "softmax",
    "diagonal",
    "blocks",
    "reorder",
    "sorting",
    "special",
    "state",
    "training",
)
"""The modules that register ops; a new one is added here. They are imported in this order until one has
the op that a graph needs: what most graphs need comes first."""
