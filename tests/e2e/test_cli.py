"""The command line: what it says, what it imports, how it ends, what it leaves behind."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import typer
from conftest import ROOT
from packages import BANDS, write_package
from rasters import write
from test_run import workflow

import geoseg
from geoseg.cli import run
from geoseg.cli.commands import app
from geoseg.run.lock import hold
from geoseg.run.status import StatusFile

HEAVY = {"torch", "torchvision", "timm", "segmentation_models_pytorch"}


@pytest.fixture
def call(capsys):
    """Run a command in this process."""

    def called(*args):
        capsys.readouterr()
        code = run([str(a) for a in args])
        told = capsys.readouterr()
        return SimpleNamespace(code=code, out=told.out, err=told.err)

    return called


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


def listing(folder):
    return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}


def leaves(command, path=()):
    """Every command that can be run, with the words that run it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from leaves(inner, (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_is_in_the_readme(words, call):
    command = COMMANDS[words]
    told = call(*words, "--help")
    assert told.code == 0
    assert command.help.splitlines()[0][:40] in told.out
    for parameter in command.params:
        assert parameter.help, f"{' '.join(words)} {parameter.name}"
    # README may write an argument between: geoseg models show NAME.
    assert re.search(rf"geoseg {' '.join(words)}\b", (ROOT / "README.md").read_text("utf-8"))


def test_version_and_help(call):
    assert call("--version").out == f"geoseg {geoseg.__version__}\n"
    told = call("--help")
    assert told.code == 0
    assert {words[0] for words in COMMANDS} <= set(re.findall(r"[\w-]+", told.out))
    assert call("-h").out == told.out


def python(code, *args, cwd=None, **environment):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        capture_output=True, text=True, check=False, timeout=120, cwd=cwd,
        env=os.environ | environment,
    )  # fmt: skip


IMPORTS = """
import json, sys
from geoseg.cli import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]), file=sys.stderr)
"""


def imported(*args):
    done = python(IMPORTS, *args)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules)


REAL_IMPORTS = """
import json, sys
from geoseg.cli import main
try:
    main()
except SystemExit as end:
    # What is only put off has no name of a module's kind.
    real = [n for n, m in sys.modules.items() if type(m).__name__ != "_Deferred"]
    print(json.dumps([end.code, sorted(real)]), file=sys.stderr)
"""


def test_vectorize_loads_only_what_it_uses(tmp_path):
    write(tmp_path / "map.tif", np.kron([[1, 2], [3, 1]], np.ones((16, 16))).astype(np.uint8)[None])
    done = python(REAL_IMPORTS, "vectorize", tmp_path / "map.tif", tmp_path / "map.gpkg", "-q")
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    assert (tmp_path / "map.gpkg").exists()
    unused = {
        "pandas", "geopandas", "pyogrio", "dask", "distributed", "xarray", "boto3", "rich",
        "scipy.linalg", "pyarrow.compute", "pyarrow.parquet", "jinja2", "matplotlib", "zarr",
        "geoseg.workflow.schema", *HEAVY,
    }  # fmt: skip
    assert not unused & set(modules)


def test_help_imports_nothing_heavy():
    for args in (("--help",), ("--version",), ("run", "--help"), ("models", "--help")):
        found = imported(*args)
        assert not found & {*HEAVY, "rasterio", "dask", "distributed", "numpy", "pandas"}, args


def test_validate_and_plan_import_no_torch(tmp_path, model):
    path = workflow(tmp_path, model)
    found = imported("validate", path)
    assert not found & {*HEAVY, "rasterio", "distributed"}
    assert not imported("plan", path) & HEAVY
    assert not imported("models", "list") & HEAVY


@pytest.mark.parametrize(
    ("args", "last"),
    [
        (["plann"], "No such command 'plann'"),
        (["run"], "Missing argument"),
        (["plan", "--sett", "x"], "No such option: --sett"),
        (["run", "none.yaml"], "none.yaml: no such workflow file"),
        (["validate", "none.yaml"], "none.yaml: no such workflow file"),
        (["models", "show", "landcover"], "did you mean 'landcover-s2'?"),
        (["sample", "x", "--size", "-3"], "size '-3' is not like 1024"),
        (["sample", "x", "--date", "3"], "date 3 is not 1 or 2"),
        (["status", "none"], "there is no such folder"),
        (["status", "."], "no run has written here"),
        (["predict", "none.tif", "out"], "none.tif"),
        (["vectorize", "none.tif", "out.gpkg"], "none.tif: no such file"),
    ],
)
def test_mistakes_end_with_one_clear_line_and_code_2(call, tmp_path, monkeypatch, args, last):
    monkeypatch.chdir(tmp_path)
    told = call(*args)
    assert told.code == 2
    assert told.out == ""
    assert last in told.err.splitlines()[-1]
    assert "Traceback" not in told.err
    assert not list(tmp_path.iterdir())


def test_debug_says_where_an_error_came_from(tmp_path):
    code = "import sys; from geoseg.cli import main; main()"
    for args in (["--debug", "run", "none.yaml"], ["run", "none.yaml", "--debug"]):
        done = python(code, *args, cwd=tmp_path)
        assert done.returncode == 2
        assert "Traceback" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: none.yaml")


@pytest.mark.parametrize(
    "args", [["schema"], ["models", "list"], ["models", "show", "landcover-s2"]]
)
def test_a_reader_that_goes_away_is_no_news(args):
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "geoseg", *args], stdout=theirs, stderr=subprocess.PIPE, check=False
    )
    os.close(theirs)
    assert done.stderr == b""
    assert done.returncode == 1


def test_schema_is_the_one_that_ships(call, tmp_path):
    shipped = (ROOT / "geoseg.schema.json").read_text("utf-8")
    assert call("schema").out == shipped
    told = call("schema", "-o", tmp_path / "a.json")
    assert told.out == f"{tmp_path / 'a.json'}\n"
    assert (tmp_path / "a.json").read_text("utf-8") == shipped


def test_validate_tells_every_problem_of_every_file(call, tmp_path, model):
    good = workflow(tmp_path, model)
    # Neither this folder nor the model is looked for.
    bad = tmp_path / "bad.yaml"
    bad.write_text("geoseg: 1\ninput: {kind: files, path: nowhere/*.tif}\nmodel: a\ntilling: 3\n")
    told = call("validate", good, bad, bad)
    assert told.code == 2
    assert told.out == f"{good}: ok\n"
    assert told.err.count("bad.yaml:4:1: tilling: unknown key, did you mean 'tiling'?") == 2
    bad.write_text(bad.read_text().replace("tilling: 3", "output: {directory: x}\nname: a"))
    assert call("validate", bad).code == 0
    assert call("validate", bad, "--set", "output.raster=3").code == 2


INITS = {
    "sample": ([], "kind: sample"),
    "files": (["--scene", "in/*.tif"], "in/*.tif"),
    "stac": (["--catalog", "catalog.json"], "catalog.json"),
}


@pytest.mark.parametrize("kind", INITS)
def test_init_writes_a_workflow_to_start_from(call, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    args, said = INITS[kind]
    told = call("init", "my maps.yaml", *args)
    assert (told.code, told.out) == (0, "my maps.yaml: written; next: geoseg plan 'my maps.yaml'\n")
    text = Path("my maps.yaml").read_text("utf-8")
    assert said in text
    assert f"kind: {kind}" in text
    assert call("validate", "my maps.yaml").code == 0
    if kind == "files":
        values = np.full((6, 40, 50), 900, np.uint16)
        write(tmp_path / "in/a.tif", values, names=BANDS, scales=(1e-4,) * 6, offsets=(0.0,) * 6)
    if kind != "stac":
        before = listing(tmp_path)
        units = ("--set", "input.units=reflectance") if kind == "files" else ()
        planned = call("plan", "my maps.yaml", "--json", *units)
        assert planned.code == 0, planned.err
        assert len(json.loads(planned.out)["scenes"]) == 1
        assert listing(tmp_path) == before
    again = call("init", "my maps.yaml")
    assert again.code == 2
    assert "is there already" in again.err


def test_init_refuses_what_cannot_be(call, tmp_path):
    path = tmp_path / "a.yaml"
    assert "not both" in call("init", path, "--scene", "a", "--catalog", "b").err
    told = call("init", path, "--model", "landcover")
    assert (told.code, told.err.splitlines()[-1].count("did you mean 'landcover-s2'")) == (2, 1)
    assert not path.exists()


def test_models_are_listed_and_shown(call):
    listed = call("models", "list").out
    cards = json.loads(call("models", "list", "--json").out)
    assert "landcover-s2" in {c["name"] for c in cards}
    for card in cards:
        assert f"{card['name']} {card['version']}: " in listed
        shown = json.loads(call("models", "show", card["name"]).out)
        assert shown["type"] == "Feature", "a STAC item"
    assert max(map(len, listed.splitlines())) > 60, "lines are not cut to a terminal's width"


def test_doctor_finds_this_machine_well(call):
    told = call("doctor")
    assert told.code == 0, told.out
    found = json.loads(call("doctor", "--json").out)
    assert {"Python", "torch", "rasterio", "cores", "memory", "compute", "models"} <= {
        f["what"] for f in found
    }
    for finding in found:
        assert finding["ok"] or not finding["needed"]
        if finding["ok"] and not finding["what"].startswith(("disk", "memory")):
            assert f"ok  {finding['what']}: {finding['found']}" in told.out


def test_doctor_says_what_would_mend_a_machine(tmp_path):
    code = "import sys; from geoseg.cli import main; main()"
    done = python(code, "doctor", GEOSEG_MODELS=str(tmp_path / "none"))
    assert "Traceback" not in done.stderr
    bad = [line for line in done.stdout.splitlines() if line.startswith("BAD")]
    if done.returncode:
        assert all(" -> " in line for line in bad)
    else:
        assert not bad


def test_sample_writes_what_it_says(call, tmp_path):
    told = call("sample", tmp_path / "a", "--size", "64x96", "--seed", 3, "--date", 2)
    assert told.code == 0
    scene = Path(told.out.strip())
    assert scene == tmp_path / "a" / "scene.tif"
    assert "sample: " in told.err
    with rasterio.open(scene) as file:
        assert file.shape == (64, 96)
        assert file.descriptions == BANDS
    assert {"catalog.json", "truth.tif"} <= {p.name for p in (tmp_path / "a").iterdir()}
    before = listing(tmp_path)
    assert call("sample", tmp_path / "a", "--size", "64x96", "--seed", 3, "--date", 2).code == 0
    assert listing(tmp_path) == before
    quiet = call("sample", tmp_path / "b", "--size", "64x96", "--seed", 3, "--date", 2, "-q")
    assert quiet.err == ""
    same = (tmp_path / "b/scene.tif").read_bytes() == scene.read_bytes()
    assert same


LOST = """
import sys
from geoseg.run.status import StatusFile
file = StatusFile(sys.argv[1], seconds=0)
file.started(scenes=1, blocks=9, dashboard=None)
file.stage("segment", blocks=9, pixels=900)
file.advance(blocks=4, pixels=400)
"""


def test_status_of_runs_that_run_ended_and_were_lost(call, tmp_path):
    ways = {
        "running": lambda file: file.stage("trace", blocks=8, pixels=80, done_blocks=3),
        "done": lambda file: file.done("all is well"),
        "failed": lambda file: file.ended("failed", "no [b]disk[/b]"),
        "stopped": lambda file: file.ended("stopped", "by SIGINT"),
    }
    for name, way in ways.items():
        file = StatusFile(tmp_path / "out" / name / ".geoseg")
        file.started(scenes=1, blocks=8, dashboard=None)
        way(file)
    assert python(LOST, tmp_path / "out/lost/.geoseg").returncode == 0
    told = call("status", tmp_path)
    lines = {line.split(": ")[0].rpartition("/")[2]: line for line in told.out.splitlines()}
    assert set(lines) == {*ways, "lost"}
    for name, line in lines.items():
        assert f"{tmp_path / 'out' / name}: {name} " in line
    assert "trace 3/8 blocks" in lines["running"]
    assert "no [b]disk[/b]" in lines["failed"]
    assert "segment 4/9 blocks" in lines["lost"]
    values = json.loads(call("status", tmp_path / "out/lost", "--json").out)
    assert [(v["state"], v["done_blocks"]) for v in values["outputs"]] == [("lost", 4)]


def test_an_output_that_another_run_holds(call, tmp_path, model):
    path = workflow(tmp_path, model)
    with hold(tmp_path / "out" / ".geoseg"):
        told = call("run", path, "-q")
    assert told.code == 75
    assert "holds this output" in told.err
    assert len(told.err.splitlines()) == 1
