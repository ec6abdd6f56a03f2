"""Fixtures that every floor may use."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

# Tests run side by side, one process a core: more threads would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A loaded machine must not fail a test: no deadlines; the same examples in every run.
settings.register_profile(
    "geoseg", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("geoseg")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the tests in tests/chaos try."""
    parser.addoption(
        "--chaos",
        type=int,
        default=3,
        metavar="N",
        help="kill runs N times and damage N files; docs/reliability.md was made with 60",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is marked ``long`` is left to those who ask for more than CI has time for."""
    if config.getoption("--chaos") >= 8:
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="takes long: with --chaos 8, or more"))


@pytest.fixture(scope="session", autouse=True)
def dashboards_apart() -> Iterator[None]:
    """Dashboards of this process: away from 8787 on, where commands that tests run have theirs.

    Who takes the port between another's look at it and Dask's makes Dask warn, which fails a test.
    """
    from geoseg.run.clusters import local

    one = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "DASHBOARD_PORT", 8900 + 100 * one)
        yield


@pytest.fixture(scope="session")
def chaos(pytestconfig: pytest.Config) -> int:
    """How many kills, or damages, are tried."""
    return int(pytestconfig.getoption("--chaos"))


@pytest.fixture(scope="session")
def chaos_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model for the tests in tests/chaos; made once, as measuring its reach takes seconds."""
    from packages import write_package

    return write_package(tmp_path_factory.mktemp("model"))


@pytest.fixture
def case(tmp_path: Path, chaos_package: Path):
    """A scene, a copy of the model and a workflow, in a folder of their own."""
    from interrupting import Case  # in tests/chaos, which is on the path when its tests are

    shutil.copytree(chaos_package, tmp_path / "models" / chaos_package.name)
    return Case(tmp_path, tmp_path / "models" / chaos_package.name)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real scenes; tests that need it skip where it is missing."""
    base = Path(os.environ.get("GEOSEG_DATA", ROOT.parent / "shared" / "data"))
    visible = base / "visible"
    if not visible.is_dir():
        pytest.skip(f"real scenes are not at {base} (set GEOSEG_DATA)")
    return visible


@pytest.fixture(scope="session")
def published_dir() -> Path:
    """The folder of published models, beside the real scenes; tests that need it skip without."""
    base = Path(os.environ.get("GEOSEG_DATA", ROOT.parent / "shared" / "data"))
    models = base.parent / "models"
    if not models.is_dir():
        pytest.skip(f"published models are not at {models} (set GEOSEG_DATA to their sibling)")
    return models


@pytest.fixture(scope="session", autouse=True)
def _no_models_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What somebody has added for themselves must not change what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("user")))
        patch.setenv("GEOSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("GEOSEG_MODELS", raising=False)
        yield
