"""What is loaded when, as processes of their own tell."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("first", ["geoseg", "xarray"])
def test_arrays_know_geoseg_whichever_is_imported_first(first):
    code = (
        f"import {first}, xarray, geoseg, sys\n"
        "assert 'rasterio' not in sys.modules and 'torch' not in sys.modules\n"
        "assert xarray.DataArray([1]).geoseg.predict and xarray.Dataset().geoseg.areas\n"
        "import importlib.resources; importlib.resources.files(xarray)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_help_of_labels_loads_nothing_heavy():
    code = "import sys; from geoseg.cli import run; run(['labels', 'check', '--help']);"
    code += "print([m for m in ('torch', 'numba', 'rasterio', 'matplotlib') if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip().endswith("[]")
