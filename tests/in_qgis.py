"""What real QGIS makes of products; it lives in the system's Python, not in ours."""

import json
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

PYTHON = "/usr/bin/python3"
SIDE = Path(__file__).parent / "qgis_side.py"
# What belongs to our Python must not reach the other one.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "PROJ_LIB", "PROJ_DATA", "GDAL_DATA", "VIRTUAL_ENV")


def environment():
    ours = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    return ours | {"QT_QPA_PLATFORM": "offscreen"}


@cache
def lacking():
    """Why QGIS cannot be used; empty where it can."""
    if not Path(PYTHON).exists():
        return f"there is no {PYTHON}"
    asked = subprocess.run(
        [PYTHON, "-c", "import qgis.core"], env=environment(), capture_output=True, check=False
    )
    return "Debian's python3-qgis is not installed" if asked.returncode else ""


def open_in_qgis(
    folder: Path, *paths: Path, size: tuple[int, int], scale: int = 1, **wishes: list
) -> dict:
    """Layers of ``paths`` as QGIS sees them, drawn to ``folder``; ``size`` is width and height.

    For ``wishes`` see ``qgis_side.py``.
    """
    if lacking():
        pytest.skip(lacking())
    folder.mkdir(parents=True, exist_ok=True)
    command = [PYTHON, SIDE, folder, f"{size[0]}x{size[1]}", str(scale), json.dumps(wishes), *paths]
    done = subprocess.run(
        list(map(str, command)),
        env=environment() | {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
