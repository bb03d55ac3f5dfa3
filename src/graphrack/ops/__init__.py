"""What each op computes, grouped as TensorFlow's documentation groups them."""

MODULES: tuple[str, ...] = (
    "activation",
    "arithmetic",
    "array",
    "blocks",
    "cast",
    "comparison",
    "conv",
    "conv_grad",
    "diagonal",
    "gather",
    "joining",
    "math",
    "matmul",
    "normalization",
    "padding",
    "pool",
    "random",
    "random_stateless",
    "reduction",
    "reorder",
    "selection",
    "shape",
    "slicing",
    "softmax",
    "sorting",
    "special",
    "state",
    "training",
)
"""The modules that register ops; a new one is added here. They are imported in this order until one has
the op that a graph needs: what most graphs need comes first."""
