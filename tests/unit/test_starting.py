"""What a command puts off is there as soon as somebody wants it."""

import subprocess
import sys

import pytest


def python(code):
    code = "import sys\nfrom geoseg.cli.starting import start_fast\nstart_fast()\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_looking_at_all_modules_loads_none():
    out = python(
        "import inspect, dask, boto3\n"
        "for module in list(sys.modules.values()):\n"
        "    getattr(module, '__warningregistry__', None), getattr(module, '__file__', None)\n"
        "inspect.getmodule(inspect.currentframe())\n"
        "assert not dask.is_dask_collection(1)\n"
        "print({'dask.base', 'botocore', 'scipy.linalg'} & sys.modules.keys())"
    )
    assert out == ["set()"]


@pytest.mark.parametrize(
    "use",
    [
        "import dask; print(dask.delayed(1 .__add__)(1).compute())",
        "import dask.array as da; print(da.ones(2).sum().compute().astype(int))",
        "from dask.base import compute; print(compute(2)[0])",
        "import dask, dask.delayed as d; print(1 + dask.is_dask_collection(d.delayed(1)))",
        "from boto3 import Session; print(Session('2', '3').get_credentials().access_key)",
    ],
)
def test_whoever_uses_a_module_has_it(use):
    if "boto3" in use:
        pytest.importorskip("boto3")
    assert python(use) == ["2"]


def test_kernels_that_multiply_matrices_find_blas():
    pytest.importorskip("scipy")
    out = python(
        "import numba, numpy as np\n"
        "@numba.njit\n"
        "def product(a, b):\n"
        "    return np.dot(a, b)\n"
        "print(int(product(np.full((2, 2), 3.0), np.eye(2)).sum()))"
    )
    assert out == ["12"]


def test_what_is_loaded_first_is_not_searched_for_cycles_again():
    out = python(
        "import gc\n"
        "held = [[] for _ in range(400_000)]\n"
        "print(gc.get_threshold()[0], gc.get_freeze_count() > 250_000, len(gc.callbacks))"
    )
    assert out == ["700", "True", "0"]
