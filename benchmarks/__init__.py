"""Measurements of graphrack against TensorFlow, each pair in the same run and on the same files."""
