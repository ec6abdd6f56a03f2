"""What somebody meets first: questions of init, completion in the shell, what doctor says."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from geoseg.api import doctor
from geoseg.cli import run
from geoseg.workflow import load


def on_terminal(answers, *args, cwd):
    """Run a command on a terminal of its own, and give it its answers."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "geoseg", *args],
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, close_fds=True,
        env=os.environ | {"TERM": "dumb", "NO_COLOR": "1"},
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, "".join(f"{answer}\n" for answer in answers).encode())
    said = b""
    try:
        while part := os.read(ours, 4096):
            said += part
    except OSError:
        pass  # that is how a terminal says that nobody holds its other end any more
    os.close(ours)
    return process.wait(timeout=60), said.decode().replace("\r\n", "\n")


def test_init_asks_until_an_answer_can_be(tmp_path):
    answers = [
        "images/*.tif",
        "metres",
        "reflectance",
        "water",
        "water-s2",
        "Sea",
        "Water",
        "0.5 acres",
        "0.5 ha",
        "",
    ]
    code, said = on_terminal(answers, "init", "my lakes.yaml", cwd=tmp_path)
    assert code == 0, said
    assert "model 'water': there is none of that name, did you mean 'water-s2'?" in said
    assert "the model has no class 'Sea'" in said
    assert "found '0.5 acres'" in said
    assert "aerial-rgb" in said, "models are listed"
    assert "my lakes.yaml: written; next: geoseg plan 'my lakes.yaml'" in said
    workflow = load(tmp_path / "my lakes.yaml")
    assert workflow.input.path == ("images/*.tif",)
    assert workflow.input.units == "reflectance"
    assert workflow.model.name == "water-s2"
    assert workflow.output.vector.classes == ("Water",)
    assert {str(area) for area in workflow.output.vector.min_area.values()} == {"0.5 ha"}
    assert workflow.output.directory == "products/my lakes/{scene}"


def test_init_asks_nothing_that_it_was_told(tmp_path):
    told = ("--scene", "a.tif", "--model", "landcover-s2", "--classes", "none")
    code, said = on_terminal(["", "maps/{scene}"], "init", "w.yaml", *told, cwd=tmp_path)
    assert code == 0, said
    assert "Where are" not in said
    assert "Smallest polygon" not in said
    workflow = load(tmp_path / "w.yaml")
    assert workflow.input.units is None
    assert workflow.output.vector is None
    assert workflow.output.directory == "maps/{scene}"


def test_init_asks_nobody_where_there_is_no_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ("--catalog", "earth-search", "--classes", "Trees, Water", "--min-area", "1 ha")
    assert run(["init", "w.yaml", *options, "--output", "maps/{date:%Y}/{scene}"]) == 0
    assert capsys.readouterr().out == "w.yaml: written; next: geoseg plan w.yaml\n"
    workflow = load(tmp_path / "w.yaml")
    assert workflow.input.catalog == "earth-search"
    assert workflow.output.vector.classes == ("Trees", "Water")
    assert run(["init", "v.yaml", "--classes", "Lava"]) == 2
    assert "no class 'Lava'" in capsys.readouterr().err
    assert run(["init", "v.yaml", "--output", "maps/{when}"]) == 2
    assert "when" in capsys.readouterr().err
    assert run(["init", "v.yaml", "--units", "dn"]) == 2
    assert "give --scene, too" in capsys.readouterr().err
    assert not Path("v.yaml").exists()


COMPLETIONS = {
    "geoseg mod": {"models"},
    "geoseg predict --model wa": {"water-s2"},
    "geoseg models show land": {"landcover-s2"},
}


@pytest.mark.parametrize("typed", COMPLETIONS)
def test_the_shell_completes_commands_options_and_models(typed):
    asked = {"_GEOSEG_COMPLETE": "complete_bash", "COMP_WORDS": typed}
    done = subprocess.run(
        [sys.executable, "-m", "geoseg"], capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | asked | {"COMP_CWORD": str(len(typed.split()) - 1)},
    )  # fmt: skip
    assert set(done.stdout.split()) == COMPLETIONS[typed], done.stderr


def test_completion_installs_itself(tmp_path):
    home = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", "--install-completion", "bash"],
        capture_output=True, text=True, check=False, timeout=60, env=os.environ | home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "geoseg" in (tmp_path / ".bashrc").read_text()
    scripts = list((tmp_path / ".bash_completions").iterdir())
    assert "_GEOSEG_COMPLETE" in scripts[0].read_text()


@pytest.mark.parametrize("typed", COMPLETIONS)
def test_bash_completes_with_what_was_installed(typed, tmp_path):
    """The script as it lies after --install-completion, in a real bash, by the real command."""
    home = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    subprocess.run(
        [sys.executable, "-m", "geoseg", "--install-completion", "bash"],
        capture_output=True, check=True, timeout=60, env=home,
    )  # fmt: skip
    (script,) = (tmp_path / ".bash_completions").iterdir()
    words, tools = typed.split(), tmp_path / "bin"
    tools.mkdir()
    (tools / "geoseg").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m geoseg "$@"\n')
    (tools / "geoseg").chmod(0o755)
    commands = f"""
source '{tmp_path}/.bashrc'
COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1} COMP_LINE='{typed}'
_geoseg_completion geoseg
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p geoseg
"""
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", commands], capture_output=True, text=True, check=False,
        env=home | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}, timeout=60,
    )  # fmt: skip
    *found, registered = done.stdout.splitlines()
    assert set(found) == COMPLETIONS[typed], done.stderr
    assert "_geoseg_completion geoseg" in registered
    assert script.exists()


@pytest.mark.parametrize(("shell", "word"), [("zsh", "compdef"), ("fish", "complete --command")])
def test_other_shells_get_their_script(shell, word):
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", "--show-completion", shell],
        capture_output=True, text=True, check=True, timeout=60,
        env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )  # fmt: skip
    assert word in done.stdout
    assert f"complete_{shell}" in done.stdout


def findings(monkeypatch, **changes):
    for name, value in changes.items():
        monkeypatch.setattr(doctor, name, value)
    monkeypatch.setattr(doctor, "_torch", lambda: doctor.Finding("compute", "CPU", ok=True))
    return {finding.what: finding for finding in doctor.examine()}


def test_doctor_names_the_command_for_a_package_that_is_missing_or_old(monkeypatch):
    asked = ["numpy>=1.26", "no-such-package>=2.1", "rasterio>=99.5", 'onnx>=1; extra == "onnx"']
    found = findings(monkeypatch, requires=lambda _: asked)
    assert found["numpy"].ok
    assert found["no-such-package"] == (
        "no-such-package", "missing", False, "pip install 'no-such-package>=2.1'", True,
    )  # fmt: skip
    assert found["rasterio"].mend == "pip install 'rasterio>=99.5'"
    assert not found["rasterio"].ok
    assert "onnx" not in found


def test_doctor_tells_what_can_be_done_without_from_what_cannot(monkeypatch, capsys, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("GEOSEG_CACHE", str(blocked / "cache"))
    monkeypatch.setattr(doctor, "_EXTRAS", {"no-such-engine": "maps are faster"})
    monkeypatch.setattr(doctor, "_torch", lambda: doctor.Finding("compute", "CPU", ok=True))
    monkeypatch.chdir(tmp_path)
    assert run(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "--  no-such-engine: not installed -> maps are faster: pip install 'geoseg[" in said
    assert re.search(r"--  cache: .*cannot be written .* -> set GEOSEG_CACHE", said)
    assert [p.name for p in tmp_path.iterdir()] == ["file"], "nothing is left behind"
    monkeypatch.setenv("GEOSEG_MODELS", str(tmp_path / "none"))
    assert run(["doctor", "--json"]) == 1
    models = {one["what"]: one for one in json.loads(capsys.readouterr().out)}["models"]
    assert models["needed"]
    assert models["mend"] == "set GEOSEG_MODELS right, or unset it"


def test_doctor_sees_what_does_not_load(monkeypatch):
    def broken():
        raise RuntimeError("PROJ: proj.db contains DATABASE.LAYOUT.VERSION.MINOR = 2\nmore")

    found = findings(monkeypatch, _projections=broken)["projections"]
    assert not found.ok
    assert found.found.startswith("RuntimeError: PROJ: proj.db contains")
    assert found.mend == "unset PROJ_LIB PROJ_DATA GDAL_DATA"
