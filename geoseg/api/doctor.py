"""What is installed, what this machine has, and what would mend what is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from geoseg.errors import GeosegError
from geoseg.models.converted import cache_folder
from geoseg.models.registry import available
from geoseg.run.lock import hold
from geoseg.run.resources import available_cores, available_memory
from geoseg.workflow import load
from geoseg.workflow.cluster import Cluster, expand_cluster

LEAST_MEMORY = 3 * 2**30
LEAST_DISK = 2 * 2**30
_SHOWN = ("numpy", "rasterio", "pyogrio", "shapely", "zarr", "distributed", "torch", "timm")
_EXTRAS = {
    "openvino": "large scenes are mapped several times as fast on CPUs",
    "onnxruntime": "ONNX models",
    "transformers": "Mask2Former and others of Hugging Face",
    "rio-tiler": "maps in a browser",
    "boto3": "products and blocks in a store that speaks S3",
    "prometheus_client": "numbers for Prometheus",
    "dask-jobqueue": "clusters of kind slurm and pbs",
    "dask-kubernetes": "clusters of kind kubernetes",
    "dask-gateway": "clusters of kind gateway",
}
_EXTRA_OF = {
    "onnxruntime": "onnx",
    "rio-tiler": "view",
    "boto3": "s3",
    "prometheus_client": "metrics",
    "dask-jobqueue": "hpc",
    "dask-kubernetes": "kubernetes",
    "dask-gateway": "gateway",
}
_NEEDED_DRIVERS = ("GTiff", "COG", "JP2OpenJPEG", "VRT")
_LOCKS_MEND = "start geoseg in a folder that can be written, and that flock works in"
_WHEELS = "https://pytorch.org/get-started/locally"


class Finding(NamedTuple):
    """One thing that was looked at; ``mend`` is the command or setting that helps.

    Where something is not ``needed``, everything works without it, but for what ``mend`` says.
    """

    what: str
    found: str
    ok: bool
    mend: str = ""
    needed: bool = True


def examine() -> list[Finding]:
    """Look at all of it."""
    return [
        _python(),
        *_packages(),
        *_extras(),
        _tried("GDAL", _gdal, "pip install --force-reinstall --no-deps rasterio pyogrio"),
        _tried("projections", _projections, "unset PROJ_LIB PROJ_DATA GDAL_DATA"),
        _torch(),
        Finding("cores", str(available_cores()), ok=True),
        _memory(),
        _disk(),
        _cache(),
        _tried("locks here", _locks, _LOCKS_MEND, needed=False),
        _models(),
    ]


def examine_cluster(target: str) -> list[Finding]:
    """Start or reach a cluster, and ask its workers what a run asks them before its first block.

    Args:
        target: A workflow file, or the address of a scheduler or gateway.

    Raises:
        InputError: The workflow is wrong, or no cluster answers.
    """
    from geoseg.api.checking import examine_workers, is_address  # noqa: PLC0415 (distributed)
    from geoseg.api.clusters import resources_of, spec_of  # noqa: PLC0415 (only asked for here)
    from geoseg.api.planning import plan_workflow  # noqa: PLC0415 (only asked for here)
    from geoseg.run.cluster import connect  # noqa: PLC0415 (distributed)

    plan = None
    if is_address(target):
        cluster = Cluster.model_validate(expand_cluster(target))
    else:
        workflow = load(target)
        with workflow.pointing():
            plan, cluster = plan_workflow(workflow), workflow.cluster
    resources = resources_of(cluster) if plan is None else plan.resources
    spec = spec_of(cluster, resources)
    with connect(spec, blocks=None if plan is None else plan.blocks) as connected:
        states = examine_workers(connected.client, plan)
        found = f"{connected.workers} workers, {connected.threads} threads"
    findings = [Finding(f"cluster ({cluster.kind})", found, ok=True)]
    for state in states:
        name = f"worker {state.address} on {state.seen.host}"
        findings += [Finding(name, what, ok=False, mend=mend) for what, mend in state.faults]
        if not state.faults:
            findings.append(Finding(name, str(state), ok=True))
    doubts = sorted({doubt for state in states for doubt in state.doubts})
    return findings + [
        Finding("doubt", doubt, ok=False, mend="a run says so, and goes on", needed=False)
        for doubt in doubts
    ]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", found, sys.version_info >= (3, 11), "install Python 3.11 or newer")


def _packages() -> list[Finding]:
    """The best known by name; all others that geoseg asks for in one line, unless they lack."""
    found, fine = [], 0
    for name, least in _asked_for().items():
        finding = _package(name, least)
        if name in _SHOWN or not finding.ok:
            found.append(finding)
        else:
            fine += 1
    if fine:
        found.append(Finding("other packages", f"{fine} that are asked for", ok=True))
    return found


def _asked_for() -> dict[str, str]:
    """Packages without which geoseg does not work, and the least version of each."""
    try:
        listed = requires("geoseg") or []
    except PackageNotFoundError:  # run from its source, without being installed
        listed = []
    parts = (re.match(r"([A-Za-z0-9._-]+)\s*(?:>=\s*([0-9.]+))?", one) for one in listed)
    said = {
        part[1]: part[2] or ""
        for part, one in zip(parts, listed, strict=True)
        if part is not None and "extra ==" not in one
    }
    return said or dict.fromkeys(_SHOWN, "")


def _package(name: str, least: str) -> Finding:
    wanted = f"'{name}>={least}'" if least else name
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(name, "missing", ok=False, mend=f"pip install {wanted}")
    old = bool(least) and _numbers(found) < _numbers(least)
    return Finding(name, found, not old, mend=f"pip install {wanted}")


def _numbers(text: str) -> tuple[int, ...]:
    """A version's numbers, as far as they go."""
    start = re.match(r"[0-9.]*", text)
    numbers = [int(n) for n in (start[0] if start else "").split(".") if n]
    while numbers and not numbers[-1]:
        numbers.pop()  # 2.0 is 2
    return tuple(numbers)


def _extras() -> list[Finding]:
    found = []
    for name, use in _EXTRAS.items():
        mend = f"{use}: pip install 'geoseg[{_EXTRA_OF.get(name, name)}]'"
        try:
            found.append(Finding(name, version(name), ok=True, mend=mend, needed=False))
        except PackageNotFoundError:
            found.append(Finding(name, "not installed", ok=False, mend=mend, needed=False))
    return found


def _tried(what: str, look: Callable[[], str], mend: str, *, needed: bool = True) -> Finding:
    """What ``look`` says; whatever it raises is a finding, too."""
    try:
        return Finding(what, look(), ok=True, mend=mend, needed=needed)
    except Exception as error:  # noqa: BLE001 (a damaged installation fails in any way)
        said = " ".join(str(error).split())[:200]
        return Finding(what, f"{type(error).__name__}: {said}", ok=False, mend=mend, needed=needed)


def _gdal() -> str:
    import pyogrio  # noqa: PLC0415 (may not load, which is what is asked)
    import rasterio  # noqa: PLC0415 (may not load)
    from rasterio.drivers import raster_driver_extensions  # noqa: PLC0415 (may not load)

    raster_driver_extensions()
    with rasterio.Env() as env:
        lacking = [name for name in _NEEDED_DRIVERS if name not in env.drivers()]
    vectors = pyogrio.list_drivers(write=True)
    lacking += [name for name in ("GPKG", "FlatGeobuf") if name not in vectors]
    if lacking:
        raise LookupError(f"was built without {', '.join(lacking)}")
    own = ".".join(map(str, pyogrio.__gdal_version__))
    return f"{rasterio.__gdal_version__} for rasters, {own} for polygons"


def _projections() -> str:
    """Another PROJ's database, which an environment variable names, is the usual fault."""
    import pyproj  # noqa: PLC0415 (may not load)
    import rasterio.crs  # noqa: PLC0415 (may not load)

    pyproj.CRS.from_epsg(32629)
    rasterio.crs.CRS.from_epsg(32629).to_wkt()
    return f"PROJ {pyproj.proj_version_str}"


def _torch() -> Finding:
    """Asked in another process: importing torch here would slow down everything after."""
    if find_spec("torch") is None:
        return Finding("compute", "no torch", ok=False, mend="pip install torch torchvision")
    code = (
        "import torch, torchvision;"
        "print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    if done.returncode:
        return Finding(
            "compute",
            f"torch does not load: {done.stderr.strip().splitlines()[-1:]}",
            ok=False,
            mend="pip install --force-reinstall torch torchvision (both from the same index)",
        )
    found = done.stdout.strip()
    if found == "CPU" and _has_gpu():
        found = "CPU, although there is an NVIDIA GPU: this torch, or the driver, cannot use it"
        mend = f"pip install --force-reinstall torch torchvision (which build: {_WHEELS})"
        return Finding("compute", found, ok=False, mend=mend, needed=False)
    return Finding("compute", found, ok=True)


def _has_gpu() -> bool:
    """Whether NVIDIA's driver sees a GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    try:
        done = subprocess.run([tool, "-L"], capture_output=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"GPU" in done.stdout


def _memory() -> Finding:
    memory = available_memory()
    mend = "set cluster.workers: 1 and a smaller tiling.size"
    return Finding("memory", f"{memory / 1e9:.1f} GB", memory >= LEAST_MEMORY, mend)


def _disk() -> Finding:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    mend = "free some space, or set TMPDIR to another disk"
    return Finding(f"disk ({folder})", f"{free / 1e9:.1f} GB free", free >= LEAST_DISK, mend)


def _cache() -> Finding:
    """Whether what is converted and compiled can be kept; without it, each run does it again."""
    folder = cache_folder()
    mend = "set GEOSEG_CACHE to a folder that can be written"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Finding("cache", str(folder), ok=True, mend=mend)
    except OSError as error:
        why = f"{folder} cannot be written ({error.strerror})"
        return Finding("cache", why, ok=False, mend=mend, needed=False)


def _locks() -> str:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".geoseg-") as folder, hold(folder):
        return str(Path.cwd())


def _models() -> Finding:
    try:
        names = [card.name for card in available()]
    except GeosegError as error:
        return Finding("models", str(error), ok=False, mend="set GEOSEG_MODELS right, or unset it")
    return Finding("models", ", ".join(names) or "none", bool(names), "reinstall geoseg")
