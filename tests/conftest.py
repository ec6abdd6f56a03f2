"""Fixtures that every floor may use."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

# A loaded machine must not fail a test: no deadlines; the same examples in every run.
settings.register_profile(
    "geoseg", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("geoseg")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real scenes; tests that need it skip where it is missing."""
    base = Path(os.environ.get("GEOSEG_DATA", ROOT.parent / "shared" / "data"))
    visible = base / "visible"
    if not visible.is_dir():
        pytest.skip(f"real scenes are not at {base} (set GEOSEG_DATA)")
    return visible
