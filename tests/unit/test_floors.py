"""The rule of imports, as a test."""

import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def test_imports_only_go_down():
    tool = Path(sys.executable).with_name("lint-imports")
    out = subprocess.run(
        [tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stdout


def test_import_is_light():
    code = (
        "import sys, geoseg\n"
        "heavy = ('torch', 'rasterio', 'distributed', 'numpy', 'pydantic', 'typer')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_run_loads_nothing_that_it_needs_later_or_never():
    """Seconds before the first chip: of workers, and of the client until they start."""
    code = (
        "import sys, geoseg.api.jobs, geoseg.api.pipeline\n"
        "heavy = ('torch', 'numba', 'scipy', 'pandas', 'geopandas', 'pyogrio', 'pyarrow')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names_resolve():
    import geoseg

    for name in geoseg.__all__:
        assert getattr(geoseg, name)


def test_public_names_stay_what_they_are_when_a_floor_of_that_name_is_imported():
    code = (
        "import geoseg; first = geoseg.run; import geoseg.run.base, geoseg.api.pipeline;"
        "from geoseg.run.base import Stop; assert callable(geoseg.run) and geoseg.run is first"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
