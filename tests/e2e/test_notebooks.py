"""The notebooks in docs/ do what they show."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
LACKING = [name for name in ("ipykernel", "nbclient", "nbformat") if find_spec(name) is None]

# In a process of its own: sockets of a kernel's client end when they like.
EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def outputs(cell):
    """What a cell gives, by kind; numbers may differ in their last digits between machines."""
    return [(o["output_type"], sorted(o.get("data", {}))) for o in cell.get("outputs", [])]


@pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_gives_what_it_shows(path: Path, tmp_path):
    import nbformat

    shown = nbformat.read(path, 4)
    nbformat.validate(shown)
    folders = ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR")
    own = {name: str(tmp_path / name.lower()) for name in folders}
    found = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    executed = tmp_path / path.name
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(path), str(executed)],
        env={**os.environ, **own, "PYTHONPATH": found.rstrip(os.pathsep)},
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = nbformat.read(executed, 4)
    for wanted, cell in zip(shown.cells, told.cells, strict=True):
        assert outputs(cell) == outputs(wanted), cell.source
