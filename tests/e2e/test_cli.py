"""The command line: what it says, what it imports, how it ends, what it leaves behind."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from itertools import product
from math import ceil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import shapely
import typer
from conftest import ROOT
from packages import BANDS, write_package
from rasters import write
from test_run import BYTES, contents, workflow

import geoseg
from geoseg.cli import run
from geoseg.cli.commands import app
from geoseg.run.lock import hold
from geoseg.run.status import StatusFile

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|38;[25]|9[0-7])[0-9;]*m")
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
    assert {words[0] for words in COMMANDS} <= set(re.findall(r"\w+", told.out))
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
    assert (told.code, told.out) == (0, "my maps.yaml: written; next: geoseg plan my maps.yaml\n")
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


def recounted(shape, size, margin, block, wanted=None):
    """Blocks, chips and pixels of chips, counted from the lattice by hand."""
    stride = size - 2 * margin
    corners = product(range(0, shape[0], block), range(0, shape[1], block))
    every = [(y, x, min(y + block, shape[0]), min(x + block, shape[1])) for y, x in corners]
    kept = [b for b in every if wanted is None or wanted.intersects(shapely.box(*b))]
    chips = sum(ceil((b[2] - b[0]) / stride) * ceil((b[3] - b[1]) / stride) for b in kept)
    pixels = sum((b[2] - b[0]) * (b[3] - b[1]) for b in kept)
    return {
        "blocks": len(kept),
        "skipped_blocks": len(every) - len(kept),
        "chips": chips,
        "predictions_per_pixel": round(chips * size**2 / pixels, 3),
        "bytes_written": 2 * pixels,
    }


def test_plan_states_right_numbers(call, tmp_path, model, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    path = workflow(tmp_path, model, tiling={"block": 192})
    told = call("plan", path, "--json")
    assert told.code == 0
    (found,) = json.loads(told.out)["scenes"]
    numbers = recounted((420, 530), 192, 48, 192)
    assert {key: found[key] for key in numbers} == numbers
    assert (found["shape"], found["block"], found["exact"]) == ([420, 530], 192, True)
    text = call("plan", path).out
    assert f"420 x 530 pixels in {numbers['blocks']} blocks of 192 px (0 skipped" in text
    assert f"{numbers['chips']} chips of 192 px, margin 48: " in text
    assert f"{numbers['predictions_per_pixel']:.2f} predictions per pixel" in text
    assert "the map equals the model run on the whole scene" in text
    assert set(listing(tmp_path)) - set(before) == {path}, "not even the sample is written"


def test_plan_skips_blocks_outside_of_the_area(call, tmp_path, model):
    # In pixels: rows 100 to 260, columns 15 to 300.
    box = {"bbox": [560_150, 5_897_400, 563_000, 5_899_000], "crs": "EPSG:32629"}
    told = call("plan", workflow(tmp_path, model, area=box, tiling={"block": 96}), "--json")
    (found,) = json.loads(told.out)["scenes"]
    numbers = recounted((420, 530), 192, 48, 96, shapely.box(100, 15, 260, 300).buffer(-1))
    assert numbers["skipped_blocks"] > 10
    assert {key: found[key] for key in numbers} == numbers


def huge(path, side=60_000):
    """A scene of many gigabytes that has no pixels yet."""
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=6, dtype="uint16",
        crs="EPSG:32629", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5.9e6),
        tiled=True, blockxsize=512, blockysize=512, SPARSE_OK=True, BIGTIFF="YES",
    ) as file:  # fmt: skip
        file.descriptions = BANDS
        file.scales, file.offsets = (1e-4,) * 6, (0.0,) * 6
    return path


def test_plan_of_a_huge_scene_reads_no_pixel_and_writes_nothing(call, tmp_path, model):
    scene = huge(tmp_path / "huge.tif")
    path = workflow(tmp_path, model)
    data = json.loads(path.read_text())
    source = {"kind": "files", "path": str(scene), "units": "reflectance"}
    data |= {"input": source, "tiling": {"size": 512}}
    path.write_text(json.dumps(data))
    before = listing(tmp_path)
    told = call("plan", path, "--json")
    assert told.code == 0, told.err
    assert listing(tmp_path) == before
    values = json.loads(told.out)
    (found,) = values["scenes"]
    assert found["shape"] == [60_000, 60_000]
    assert found["bytes_read"] > 12 * 60_000**2
    numbers = recounted((60_000, 60_000), 512, found["margin"], found["block"])
    assert {key: found[key] for key in numbers} == numbers
    assert found["memory_per_worker"] <= values["memory_allowed"]
    refused = call("plan", path, "--set", "cluster.memory=1 GB")
    assert refused.code == 2
    assert "GB are allowed" in refused.err
    assert len(refused.err.splitlines()) == 1


def test_plan_does_not_notice_pixels_that_cannot_be_read(call, tmp_path, model):
    values = np.random.default_rng(0).integers(0, 4000, (6, 256, 256)).astype(np.uint16)
    scene = Path(write(tmp_path / "a.tif", values, names=BANDS, compress="deflate"))
    data = bytearray(scene.read_bytes())
    data[5000:-5000] = bytes(len(data) - 10_000)
    scene.write_bytes(data)
    with pytest.raises(rasterio.errors.RasterioError), rasterio.open(scene) as file:
        file.read()
    path = workflow(tmp_path, model)
    source = {"kind": "files", "path": str(scene), "scale": 1e-4, "units": "reflectance"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"input": source}))
    assert call("plan", path).code == 0


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
        assert finding["ok"]
        if not finding["what"].startswith(("disk", "memory")):
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
    assert [(v["state"], v["done_blocks"]) for v in values] == [("lost", 4)]


def test_an_output_that_another_run_holds(call, tmp_path, model):
    path = workflow(tmp_path, model)
    with hold(tmp_path / "out" / ".geoseg"):
        told = call("run", path, "-q")
    assert told.code == 75
    assert "holds this output" in told.err
    assert len(told.err.splitlines()) == 1


class OnTerminal:
    """A command on a terminal of its own, as the leader of its process group."""

    def __init__(self, *args, **environment):
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 110, 0, 0))
        env = {key: v for key, v in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "geoseg", *map(str, args)],
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env=env | {"TERM": "xterm-256color"} | environment,
        )  # fmt: skip
        os.close(theirs)
        self._bytes = b""
        self._reader = threading.Thread(target=self._read, args=(ours,))
        self._reader.start()

    def _read(self, terminal):
        while True:
            try:
                got = os.read(terminal, 65536)
            except OSError:  # nobody holds the other end any more
                got = b""
            if not got:
                os.close(terminal)
                return
            self._bytes += got

    def end(self):
        """Its exit code, what it wrote, and that without what moves and colours."""
        code = self.process.wait(timeout=200)
        self._reader.join(timeout=30)
        raw = self._bytes.decode()
        return SimpleNamespace(code=code, raw=raw, text=ANSI.sub("", raw).replace("\r", "\n"))


def wait_for_blocks(process, ledger, more):
    begun = lines = len(ledger.read_bytes().splitlines()) if ledger.exists() else 1
    deadline = time.monotonic() + 120
    while lines < begun + more:
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < deadline
        time.sleep(0.01)
        lines = len(ledger.read_bytes().splitlines()) if ledger.exists() else 1


@pytest.fixture(scope="module")
def story(tmp_path_factory, model):
    """A whole run in a pipe; then one on terminals: Ctrl-C, SIGTERM, and to the end."""
    folder = tmp_path_factory.mktemp("story")
    source = {"size": [620, 800]}
    one = {"workers": 1, "threads": 1}
    path = workflow(folder, model, input=source, tiling={"block": 96}, cluster=one)
    out, told = folder / "out", SimpleNamespace(path=path)
    told.out = out
    told.piped = subprocess.run(
        [sys.executable, "-m", "geoseg", "run", path], capture_output=True, text=True, check=False
    )
    told.before = contents(out)
    for file in filter(Path.is_file, out.iterdir()):
        file.unlink()
    ledger = out / ".geoseg/segment.jsonl"
    for name, number, env in (
        ("int", signal.SIGINT, {}),
        ("term", signal.SIGTERM, {"NO_COLOR": "1"}),
    ):
        terminal = OnTerminal("run", path, **env)
        wait_for_blocks(terminal.process, ledger, 4)
        # Ctrl-C reaches the whole group; a service manager only its process.
        (os.killpg if number == signal.SIGINT else os.kill)(terminal.process.pid, number)
        setattr(told, name, terminal.end())
        left = {p.name for p in out.iterdir()} - {"sample", ".geoseg"}
        status = subprocess.run(
            [sys.executable, "-m", "geoseg", "status", out, "--json"],
            capture_output=True,
            check=True,
        )
        getattr(told, name).left = left
        getattr(told, name).status = json.loads(status.stdout)[0]
    told.last = OnTerminal("run", path).end()
    told.after = contents(out)
    return told


@pytest.mark.cluster
def test_a_pipe_gets_plain_lines_and_stdout_the_products(story):
    assert story.piped.returncode == 0
    err, out = story.piped.stderr, story.piped.stdout
    assert "\x1b" not in err + out
    assert "\r" not in err
    lines = err.splitlines()
    blocks = ceil(620 / 96) * ceil(800 / 96)
    assert f"segment: {blocks} blocks, 0.5 Mpx" in lines
    assert any(
        re.fullmatch(rf"segment: {blocks}/{blocks} blocks  \d+\.\d Mpx/s  in \d:\d\d", line)
        for line in lines
    )
    for name in BYTES:
        if not name.endswith((".qml", ".xml")):
            assert f" {story.out / name}\n" in out


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("name", "signal_name", "code"), [("int", "SIGINT", 130), ("term", "SIGTERM", 143)]
)
def test_stopped_runs_say_so_in_one_line_and_keep_their_state(story, name, signal_name, code):
    told = getattr(story, name)
    assert told.code == code
    last = [line for line in told.text.splitlines() if line.strip()][-1]
    assert re.fullmatch(
        rf"segment: stopped by {signal_name} with \d+ of 63 blocks to go; "
        rf"the same command goes on from there",
        last.strip(),
    )
    assert "Traceback" not in told.text
    assert told.left == set(), "no product that is not finished"
    assert told.status["state"] == "stopped"
    assert 0 < told.status["done_blocks"] < 63


@pytest.mark.cluster
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(story):
    assert story.last.code == 0
    assert story.after == story.before
    record = json.loads((story.out / "run.json").read_text())
    assert record["seconds"]["segment"]["resumed_blocks"] >= 8


@pytest.mark.cluster
def test_a_terminal_gets_a_bar(story):
    assert re.search(r"segment .*\d+/63 blocks  \d+\.\d Mpx/s  \d:\d\d left", story.last.text)
    assert re.search(r"segment .*63/63 blocks  \d+\.\d Mpx/s  in \d:\d\d", story.last.text)
    assert COLOR.search(story.last.raw)
    assert story.last.raw.rstrip().count("\x1b[?25h") >= 1, "the cursor is given back"


@pytest.mark.cluster
def test_no_color_is_heeded(story):
    assert not COLOR.search(story.term.raw)
    assert re.search(r"\d+/63 blocks", story.term.text)


@pytest.mark.cluster
def test_nothing_new_is_code_3_where_asked(story, call):
    told = call("run", story.path, "--exit-code", "-q")
    assert told.code == 3
    assert "(up to date)" in told.out
    assert call("run", story.path).code == 0
    assert contents(story.out) == story.before
