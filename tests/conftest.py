"""What all tests share: quiet, CPU-only TensorFlow, and hypothesis settings."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "graphrack", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("graphrack")

# What is replayed where TensorFlow can't be imported has a run of its own: `make test-without-tensorflow`.
collect_ignore = [] if os.environ.get("GRAPHRACK_REPLAY") else ["without_tensorflow"]


@pytest.fixture(scope="session", autouse=True)
def compiled_clusters_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The user's cache is neither read nor written by tests, or by the processes that they start."""
    os.environ["GRAPHRACK_CACHE"] = str(tmp_path_factory.mktemp("cache"))
