"""What each op computes, grouped as TensorFlow's documentation groups them."""

MODULES: tuple[str, ...] = (
    "activation",
    "array",
    "conv",
    "gather",
    "joining",
    "pool",
    "shape",
    "slicing",
    "softmax",
    "state",
)
"""The modules that register ops; a new one is added here."""
