"""pyproject.toml and environment.yml ask for the same packages."""

import re
import tomllib

from conftest import ROOT
from ruamel.yaml import YAML

CONDA_NAMES = {
    "dask": "dask-core",
    "geopandas": "geopandas-base",
    "huggingface-hub": "huggingface_hub",
    "matplotlib": "matplotlib-base",
    "torch": "pytorch",
}
ONLY_CONDA = {"python", "pip"}


def split(requirement: str) -> tuple[str, str]:
    name, version = re.fullmatch(r"([A-Za-z0-9._-]+)(.*)", requirement).groups()
    return name, version


def test_conda_environment_mirrors_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = {
        "geoseg[onnx,openvino,transformers,view]",
        "geoseg[gateway,hpc]",
        "geoseg[docs]",
        "geoseg[metrics,otel]",
    }
    assert asked <= set(extras["test"])
    names = (
        *("onnx", "openvino", "transformers", "view", "gateway", "hpc", "metrics", "otel"),
        *("docs", "test", "dev"),
    )
    more = [r for extra in names for r in extras[extra]]
    wanted = [*project["dependencies"], *more]
    wanted = dict(split(r) for r in wanted if not r.startswith("geoseg"))
    conda = YAML(typ="safe").load((ROOT / "environment.yml").read_text())["dependencies"]
    conda, from_pypi = conda[:-1], conda[-1]["pip"]
    given = dict(split(r) for r in (*conda, *from_pypi))
    python = given["python"]
    for name in ONLY_CONDA:
        given.pop(name)
    assert given == {CONDA_NAMES.get(name, name): version for name, version in wanted.items()}
    assert python == project["requires-python"]


def test_an_installed_package_has_all_of_its_files():
    """Editable installs cannot tell: what is missing in the wheel is missed only by users."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    patterns = tools["setuptools"]["package-data"]["geoseg"]
    package = ROOT / "geoseg"
    shipped = {path for pattern in patterns for path in package.glob(pattern)}
    ignored = {".py", ".pyc", ".nbi", ".nbc"}
    files = {p for p in package.rglob("*") if p.is_file() and p.suffix not in ignored}
    assert files <= shipped, sorted(str(p) for p in files - shipped)
    assert package / "models" / "weights" / "landcover-s2" / "weights.safetensors" in shipped
