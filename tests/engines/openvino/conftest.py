"""What tests of clusters share."""

from __future__ import annotations

import pytest

from graphrack.engines.openvino import race


@pytest.fixture(autouse=True)
def as_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a cluster is thought to cost decides, and no clock."""
    monkeypatch.setattr(race, "LEAST_S", 0.0)
    monkeypatch.setattr(race, "LEAST_UNREADY_S", 0.0)
