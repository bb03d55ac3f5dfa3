"""The engine for dense parts: connected regions of a plan that OpenVINO compiles and runs.

Everything here is reached from `clusters.py`; OpenVINO is imported when a cluster first runs.
"""
