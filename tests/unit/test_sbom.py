"""The bill of materials names all that geoseg imports, with the versions that are installed."""

import importlib.util
import json
import re
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/sbom.py"


def _module():
    spec = importlib.util.spec_from_file_location("sbom", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_dependencies_are_in_it():
    bill = _module().bill(set())
    parts = {part["name"]: part for part in bill["components"]}
    declared = [Requirement(text) for text in requires("geoseg")]
    names = {canonicalize_name(one.name) for one in declared if one.marker is None}
    assert "rasterio" in names
    assert names <= parts.keys()
    assert all(parts[name]["version"] == version(name) for name in names)
    assert parts["urllib3"], "what dependencies need is in it, too"
    assert bill["metadata"]["component"]["name"] == "geoseg"


def test_it_is_cyclonedx_and_whole():
    bill = _module().bill({"onnx"})
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    references = {part["bom-ref"] for part in bill["components"]}
    references.add(bill["metadata"]["component"]["bom-ref"])
    listed = {entry["ref"] for entry in bill["dependencies"]}
    assert listed == references
    assert {other for entry in bill["dependencies"] for other in entry["dependsOn"]} <= references
    purls = [part["purl"] for part in bill["components"]]
    assert len(purls) == len(set(purls))
    assert all(re.fullmatch(r"pkg:pypi/[a-z0-9-]+@\S+", purl) for purl in purls)
    assert any("onnxruntime" in purl for purl in purls)


def test_as_a_command_it_gives_the_same_bytes_again():
    asked = [sys.executable, str(SCRIPT)]
    first = subprocess.run(asked, capture_output=True, check=True).stdout
    assert first == subprocess.run(asked, capture_output=True, check=True).stdout
    assert json.loads(first)["serialNumber"].startswith("urn:uuid:")


def test_requirements_are_versions_that_an_index_knows():
    lines = _module().requirements(set())
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line) for line in lines)
    assert not any(line.startswith("geoseg==") for line in lines)
