"""The engine for what nobody else runs: whole plans in a `tf.compat.v1` session, one for each model.

Everything here is reached from `plan.py`; TensorFlow is imported when a plan is made for this engine, and not before.
"""
