"""deploy/: images, compose and units are held to the project, and to the rules of their kind."""

import configparser
import json
import re
import runpy
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

import geoseg
from geoseg.api import plan
from geoseg.workflow import load
from geoseg.workflow.units import Size

DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGES = sorted((DEPLOY / "docker").glob("Dockerfile*"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
SYSTEMD = shutil.which("systemd-analyze")


def instructions(path):
    """Instructions of a Dockerfile, lines joined, comments gone."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    return [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]


def compose(name):
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (DEPLOY / name).read_text())
    return YAML(typ="safe").load(text)


def unit(path):
    """Sections of a unit; of a key that is there several times, the last."""
    found = configparser.RawConfigParser(strict=False)
    found.optionxform = str
    found.read_string(path.read_text().replace("\\\n", " "))
    return found


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_images_keep_the_rules_of_images(path):
    """Of hadolint, as far as a test can hold them without it."""
    words = instructions(path)
    kinds = [kind for kind, _ in words]
    assert "ADD" not in kinds, "COPY takes no URLs"
    users = [text for kind, text in words if kind == "USER"]
    assert users == ["10001:10001"], "by number: Kubernetes must see that it is not root"
    assert kinds.index("USER") > max(at for at, kind in enumerate(kinds) if kind == "RUN")
    for kind, text in words:
        if kind == "FROM":
            assert re.match(
                r"(base|python:\$\{PYTHON_VERSION\}-slim-bookworm\$\{PYTHON_DIGEST\})", text
            )
        if kind == "RUN" and "apt-get" in text:
            assert "--no-install-recommends" in text
            assert "rm -rf /var/lib/apt/lists/*" in text
        assert "latest" not in text
    assert "PIP_NO_CACHE_DIR=1" in path.read_text()
    assert ["ENTRYPOINT", '["geoseg"]'] in words
    health = next(text for kind, text in words if kind == "HEALTHCHECK")
    assert json.loads(health.split("CMD", 1)[1]) == ["python", "/opt/geoseg/health.py"]


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_images_are_of_this_project(path):
    arguments = dict(text.split("=", 1) for kind, text in instructions(path) if kind == "ARG")
    python = arguments["PYTHON_VERSION"]
    assert python in SpecifierSet(PROJECT["requires-python"])
    assert (
        f"Programming Language :: Python :: {python.rpartition('.')[0]}" in PROJECT["classifiers"]
    )
    assert arguments["VERSION"].strip('"') == PROJECT["version"] == geoseg.__version__
    for extra in arguments["EXTRAS"].strip('"').split(","):
        assert extra in PROJECT["optional-dependencies"]
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    for kind, text in instructions(path):
        if kind == "COPY" and "--from" not in text:
            for source in text.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in kept, f"{source} does not get into the build"


def test_versions_of_the_images_fit_the_project():
    lines = (DEPLOY / "docker" / "constraints.txt").read_text().splitlines()
    held = dict(line.split("==") for line in lines if not line.startswith("#"))
    for text in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["onnx"]):
        needed = Requirement(text)
        assert held[canonicalize_name(needed.name)] in needed.specifier, text


@pytest.mark.parametrize("names", [["compose.yaml"], ["compose.yaml", "compose.tls.yaml"]])
def test_compose_files_fit_the_specification(names):
    schema = json.loads((ROOT / "tests" / "data" / "schemas" / "compose-spec.json").read_text())
    for name in names:
        found = compose(name)
        found.pop("name", None)  # younger than the schema
        jsonschema.Draft7Validator(schema).validate(found)


def test_compose_opens_only_loopback_and_gives_no_rights():
    services = compose("compose.yaml")["services"]
    assert set(services) == {"scheduler", "worker", "client"}
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert not service.get("privileged")
        assert service["user"].split(":")[0] != "0"
        assert service["image"] == f"geoseg:{PROJECT['version']}"
    # Blocks name files by their paths: these must be the same ones where they run.
    theirs = set(services["worker"]["volumes"])
    assert theirs < set(services["client"]["volumes"])


def test_compose_gives_workers_what_the_plan_says():
    """A worker is replaced before the kernel ends its container, and the plan fits below both."""
    worker = compose("compose.yaml")["services"]["worker"]
    command = [*worker["entrypoint"], *worker["command"]]
    option = next(word for word in command if word.startswith("--memory-limit="))
    memory = Size.parse(option.partition("=")[2].replace("MB", " MB")).bytes
    cap = float(worker["mem_limit"].removesuffix("g")) * 2**30
    (task,) = plan(ROOT / "workflows" / "quickstart.yaml").tasks
    planned = task.plan.memory_per_worker
    assert planned * 1.2 < memory
    assert memory + 5e8 < cap


@pytest.mark.skipif(SYSTEMD is None, reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path):
    python = Path(sys.executable)
    for path in (DEPLOY / "systemd").glob("geoseg-*"):
        text = path.read_text().replace("/opt/geoseg/bin/geoseg", str(python))
        (tmp_path / path.name).write_text(text.replace("/opt/geoseg/bin/python", str(python)))
    for name in ("geoseg-worker@", "geoseg-night@"):
        shutil.copy(tmp_path / f"{name}.service", tmp_path / f"{name}water.service")
    shutil.copy(tmp_path / "geoseg-night@.timer", tmp_path / "geoseg-night@water.timer")
    names = ("geoseg-scheduler.service", "geoseg-worker@water.service", "geoseg-night@water.service",
             "geoseg-night@water.timer")  # fmt: skip
    judged = subprocess.run(
        [SYSTEMD, "verify", "--man=no", *(str(tmp_path / name) for name in names)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [line for line in judged.stderr.splitlines() if "geoseg-" in line] == []


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_units_have_few_rights(path):
    service = unit(path)["Service"]
    assert service["User"] == "geoseg"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert service["MemoryMax"]
    writable = service.get("ReadWritePaths", "").split()
    assert set(writable) <= {"/srv/geoseg/products"}


def test_units_ask_for_what_their_settings_say():
    lines = (DEPLOY / "systemd" / "cluster.env").read_text().splitlines()
    said = {line.partition("=")[0] for line in lines if not line.startswith("#")}
    used = set()
    for path in UNITS:
        used |= set(re.findall(r"\$\{?(GEOSEG_\w+)", path.read_text()))
    assert used == said


def test_the_workflow_that_goes_with_kubernetes_is_one():
    path = DEPLOY / "kubernetes" / "base" / "workflows" / "nightly.yaml"
    workflow = load(path, overrides=["cluster=tcp://geoseg-scheduler:8786"])
    assert workflow.monitor is not None
    assert workflow.cluster.kind == "address"


class Answering(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 500)
        self.end_headers()

    def log_message(self, *words):
        pass


def test_health_is_what_the_member_says(monkeypatch):
    health = runpy.run_path(str(DEPLOY / "docker" / "health.py"))["main"]
    monkeypatch.delenv("GEOSEG_HEALTH", raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert health() == 0, "a client has nothing to ask"
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        here = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for path, code in (("/health", 0), ("/ill", 1)):
            monkeypatch.setenv("GEOSEG_HEALTH", here + path)
            assert health() == code
        server.shutdown()
        thread.join()
    assert health() == 1, "nobody listens any more"


def test_the_batch_script_is_bash_and_refuses_before_it_starts_anything(tmp_path):
    script = DEPLOY / "slurm" / "geoseg.sbatch"
    subprocess.run(["/bin/bash", "-n", str(script)], check=True)
    environment = {"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": "7"}

    def asked(*words):
        return subprocess.run(
            ["/bin/bash", str(script), *words], cwd=tmp_path, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    nothing = asked()
    assert (nothing.returncode, "WORKFLOW" in nothing.stderr) == (2, True)
    memory = asked("w.yaml")
    assert (memory.returncode, "GEOSEG_MEMORY" in memory.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []
