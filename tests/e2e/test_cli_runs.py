"""Whole runs by the command line: in a pipe, on a terminal, stopped by signals, and gone on with."""

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
from math import ceil
from pathlib import Path
from types import SimpleNamespace

import pytest
from packages import write_package
from test_run import BYTES, contents, workflow

pytestmark = pytest.mark.cluster

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|38;[25]|9[0-7])[0-9;]*m")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_package(tmp_path_factory.mktemp("models"))


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
        getattr(told, name).status = json.loads(status.stdout)["outputs"][0]
    told.last = OnTerminal("run", path).end()
    told.after = contents(out)
    return told


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


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(story):
    assert story.last.code == 0
    assert story.after == story.before
    record = json.loads((story.out / "run.json").read_text())
    assert record["seconds"]["segment"]["resumed_blocks"] >= 8


def test_a_terminal_gets_a_bar(story):
    assert re.search(r"segment .*\d+/63 blocks  \d+\.\d Mpx/s  \d:\d\d left", story.last.text)
    assert re.search(r"segment .*63/63 blocks  \d+\.\d Mpx/s  in \d:\d\d", story.last.text)
    assert COLOR.search(story.last.raw)
    assert story.last.raw.rstrip().count("\x1b[?25h") >= 1, "the cursor is given back"


def test_no_color_is_heeded(story):
    assert not COLOR.search(story.term.raw)
    assert re.search(r"\d+/63 blocks", story.term.text)


def test_nothing_new_is_code_3_where_asked(story):
    command = [sys.executable, "-m", "geoseg", "run", story.path, "-q"]
    for extra, code in (("--exit-code", 3), ("--quiet", 0)):
        done = subprocess.run([*command, extra], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stderr == ""
        assert "(up to date)" in done.stdout
    assert contents(story.out) == story.before
