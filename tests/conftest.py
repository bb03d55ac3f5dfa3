"""What all tests share: quiet, CPU-only TensorFlow, and hypothesis settings."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import by_openvino
import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "graphrack", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("graphrack")

# What is replayed where TensorFlow can't be imported has a run of its own, `make test-without-tensorflow`; so has what
# is asserted of all that OpenVINO ran, `make test-openvino`.
collect_ignore = [
    *([] if os.environ.get("GRAPHRACK_REPLAY") else ["without_tensorflow"]),
    *([] if os.environ.get("GRAPHRACK_RAN_BY_OPENVINO") else ["ran_by_openvino"]),
]

if by_openvino.FOLDER:
    by_openvino.install()


def pytest_sessionfinish() -> None:
    if by_openvino.FOLDER:
        by_openvino.tally.save()


@pytest.fixture(scope="session", autouse=True)
def compiled_clusters_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The user's cache is neither read nor written by tests, or by the processes that they start."""
    # By OpenVINO thousands of clusters are compiled, which would be stored in the background of other tests.
    os.environ["GRAPHRACK_CACHE"] = "off" if by_openvino.FOLDER else str(tmp_path_factory.mktemp("cache"))
