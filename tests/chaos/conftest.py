"""Fixtures of the chaos tests."""

import shutil

import pytest
from interrupting import Case
from packages import write_package


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """A model; made once, as measuring its reach takes seconds."""
    return write_package(tmp_path_factory.mktemp("model"))


@pytest.fixture
def case(tmp_path, package):
    """A scene, a copy of the model and a workflow, in a folder of their own."""
    shutil.copytree(package, tmp_path / "models" / package.name)
    return Case(tmp_path, tmp_path / "models" / package.name)
