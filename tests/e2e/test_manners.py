"""Manners of all commands: next steps and colours on terminals only, JSON, questions, completion."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import typer
from conftest import ROOT

from geoseg.cli import run
from geoseg.cli.commands import app
from geoseg.cli.manners import KEPT, NEXT, accompany, painted
from geoseg.errors import StoppedError

GOOD = "geoseg: 1\nname: a\ninput: {kind: sample}\nmodel: landcover-s2\noutput: {directory: a}\n"


def leaves(group, words=()):
    """Every command by its words, with its callback."""
    for command in group.registered_commands:
        name = command.name or command.callback.__name__.replace("_", "-")
        yield " ".join((*words, name)), command.callback
    for inner in group.registered_groups:
        yield from leaves(inner.typer_instance, (*words, inner.name))


COMMANDS = dict(leaves(app))


@pytest.mark.parametrize("name", COMMANDS)
def test_what_comes_next_is_known_of_every_command(name):
    assert name in NEXT, "say what people do after it in geoseg/cli/manners.py, or ''"
    parameters = COMMANDS[name].__annotations__
    asked = re.findall(r"\{(\w+)", NEXT[name])
    assert set(asked) <= set(parameters)
    for step in filter(None, NEXT[name].split("; ")):
        words = step.split()
        if words[0] == "geoseg":
            two = " ".join(words[1:3])
            assert two in COMMANDS or words[1] in COMMANDS, step


def test_what_is_kept_is_told_of_commands_that_there_are():
    assert set(KEPT) - {"view"} <= set(COMMANDS)


def small_app():
    made = typer.Typer()

    @made.command("predict")
    def predict() -> None:
        raise KeyboardInterrupt

    @made.command("vectorize")
    def vectorize() -> None:
        raise StoppedError("stopped by SIGTERM", exit_code=143)

    @made.command("run")
    def run() -> None:
        raise StoppedError("segment: 3 of 9 blocks to go; the same command goes on")

    accompany(made)
    return {command.name: command.callback for command in made.registered_commands}


@pytest.mark.parametrize(
    ("name", "said", "code"),
    [
        ("predict", "interrupted; what is done is kept, and the same command goes on", 130),
        ("vectorize", "stopped by SIGTERM; nothing half-made has a product's name", 143),
        ("run", "segment: 3 of 9 blocks to go; the same command goes on", 130),
    ],
)
def test_what_is_interrupted_says_what_is_kept(name, said, code):
    with pytest.raises(StoppedError, match=re.escape(said)) as stop:
        small_app()[name]()
    assert stop.value.exit_code == code
    assert str(stop.value).count(";") == 1 + (name == "vectorize")


def on_terminal(cwd, *args, answers="", **environment):
    """What a command says on a terminal, and its exit code."""
    ours, theirs = pty.openpty()
    env = {key: v for key, v in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "geoseg", *args], cwd=cwd, env=env | environment,
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, answers.encode())
    parts = []

    def read():
        while True:
            try:
                got = os.read(ours, 65536)
            except OSError:
                return
            if not got:
                return
            parts.append(got)

    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait(timeout=120)
    reader.join(timeout=30)
    os.close(ours)
    return code, b"".join(parts).decode().replace("\r", "")


def test_a_terminal_is_told_what_comes_next_and_a_pipe_is_not(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    code, said = on_terminal(tmp_path, "validate", "a.yaml")
    assert (code, said) == (0, "a.yaml: ok\n\x1b[2mnext: geoseg plan a.yaml\x1b[0m\n")
    code, said = on_terminal(tmp_path, "validate", "a.yaml", NO_COLOR="1")
    assert said == "a.yaml: ok\nnext: geoseg plan a.yaml\n"
    code, said = on_terminal(tmp_path, "validate", "a.yaml", "--quiet")
    assert (code, said) == (0, "")
    piped = subprocess.run(
        [sys.executable, "-m", "geoseg", "validate", "a.yaml"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (piped.stdout, piped.stderr) == ("a.yaml: ok\n", "")


def test_errors_are_red_on_terminals_that_want_colours(tmp_path):
    code, said = on_terminal(tmp_path, "run", "none.yaml")
    assert (code, said) == (2, "\x1b[31merror:\x1b[0m none.yaml: no such workflow file\n")
    code, said = on_terminal(tmp_path, "run", "none.yaml", TERM="dumb")
    assert (code, said) == (2, "error: none.yaml: no such workflow file\n")


def test_a_file_is_never_painted(tmp_path):
    with (tmp_path / "log").open("w") as file:
        assert painted("a", "31", file) == "a"


@pytest.mark.parametrize(
    ("words", "wanted"),
    [("geoseg pred", {"predict"}), ("geoseg init --model wat", {"water-s2"})],
)
def test_shells_complete_commands_and_models(words, wanted):
    done = subprocess.run(
        [sys.executable, "-m", "geoseg"],
        env=os.environ | {
            "_GEOSEG_COMPLETE": "complete_bash", "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert set(done.stdout.split()) == wanted, done.stderr


def test_validate_tells_programs_what_is_wrong_and_where(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD + "tilling: 3\n")
    names = [str(tmp_path / name) for name in ("a.yaml", "b.yaml")]
    assert run(["validate", *names, "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told[names[0]] == []
    (problem,) = told[names[1]]
    assert (problem["line"], problem["column"], problem["key"]) == (6, 1, "tilling")


def test_references_are_those_of_this_code(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from write_reference import pages

    for name, text in pages().items():
        known = Path(ROOT / "docs" / name).read_text("utf-8")
        assert text == known, f"docs/{name}: python scripts/write_reference.py makes it anew"
        for command in COMMANDS if name == "cli.md" else ():
            assert f"# geoseg {command}\n" in text


SHOWN = {
    "models show": "prints a card, which is JSON",
    "schema": "prints a JSON Schema",
    "view": "serves a page until Ctrl-C; what it prints is the address",
}
"""Commands without ``--json``, and why."""

SHORT = {
    **dict.fromkeys(
        ("alerts show", "catalog search", "catalog show", "doctor", "events", "labels hash", "models list",
         "models architectures", "models measure", "models show", "plan", "schema"),
        "what it prints is all that it does, and it tells no progress",
    ),
    "view": "serves a page until Ctrl-C; without the address nobody could open it",
}  # fmt: skip
"""Commands without ``--quiet``, and why."""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_programs_what_it_tells_people(name):
    parameters = COMMANDS[name].__annotations__
    assert ("as_json" in parameters) is (name not in SHOWN), "say why in SHOWN, or give it --json"
    assert ("quiet" in parameters) is (name not in SHORT), "say why in SHORT, or give it --quiet"


def told(capsys, *args):
    """What a command says as JSON; nothing else may be said."""
    assert run([*map(str, args), "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return json.loads(said.out)


def test_what_is_made_is_told_as_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    found = told(capsys, "sample", "scene", "--size", "64", "--quiet")
    assert Path(found["scene"]).is_file()
    assert Path(found["catalog"]).is_file()
    assert told(capsys, "init", "w.yaml") == {"workflow": "w.yaml"}
    assert Path("w.yaml").is_file()
    found = told(capsys, "catalog", "build", "scene", "--output", "c", "--no-quicklook")
    assert (found["scenes"], found["quicklook"]) == (2, None)  # the truth is a raster, too
    assert Path(found["catalog"]).is_file()
    found = told(capsys, "labels", "hash", "scene/truth.tif")
    assert found["hash"].startswith("sha256:v1:")
    assert found["files"] == ["scene/truth.tif"]
    found = told(capsys, "models", "export", "landcover-s2", "made")
    assert (found["path"], found["difference"]) == ("made", 0)
    monkeypatch.setenv("GEOSEG_MODELS", str(tmp_path / "models"))
    found = told(capsys, "models", "add", "made", "--force")
    assert found["name"] == "landcover-s2"
    assert Path(found["folder"]).is_relative_to(tmp_path / "models")
    assert found["license"]
    Path("w.yaml").write_text(GOOD + "monitor: {keep: 90 d}\n")
    units = told(capsys, "schedule", "w.yaml")["units"]
    assert [Path(path).suffix for path in units] == [".service", ".timer"]
    assert all("[Unit]" in text for text in units.values())
    lines = told(capsys, "schedule", "w.yaml", "--kind", "cron")["cron"]
    assert sum("geoseg run" in line.replace("-m ", "") for line in lines) == 1


def test_who_wants_silence_is_told_nothing(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    Path("w.yaml").write_text(GOOD)
    for words in ("validate w.yaml", "init v.yaml", "models export landcover-s2 made"):
        assert run([*words.split(), "--quiet"]) == 0, words
        assert capfd.readouterr() == ("", ""), words
