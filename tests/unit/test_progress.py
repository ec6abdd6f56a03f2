import io
import json
import os
import pty
import re
import subprocess
import sys
import threading

import pytest

from geoseg.errors import InputError
from geoseg.run.pace import SPAN_SECONDS, Pace, clock_text
from geoseg.run.progress import JsonLines, Plain, make_reporter
from geoseg.run.reporter import Several, Silent, logs_to
from geoseg.run.status import StatusFile, read_status


def tell(reporter, blocks=4):
    reporter.started(scenes=2, blocks=blocks, dashboard="http://127.0.0.1:8787/status")
    reporter.stage("segment a[1]", blocks=blocks, pixels=blocks * 10**6)
    reporter.message("skipping [b]nodata[/b]")
    reporter.warning("a worker died")
    for _ in range(blocks):
        reporter.advance(blocks=1, pixels=10**6)
    reporter.done("products are in out/")
    reporter.close()
    reporter.close()


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_pace_knows_what_is_left():
    clock = Clock()
    pace = Pace(blocks=10, pixels=1000, done_blocks=2, done_pixels=200, clock=clock)
    assert (pace.speed, pace.left, pace.share) == (None, None, 0.2)
    clock.now += 10
    pace.advance(blocks=1, pixels=100)
    assert (pace.speed, pace.left, pace.share) == (10.0, 70.0, 0.3)
    clock.now += 10
    assert pace.speed == 5.0, "the speed falls while nothing comes"
    pace.advance(blocks=7, pixels=700)
    assert (pace.left, pace.share, pace.ended, pace.seconds) == (0.0, 1.0, True, 20.0)
    clock.now += 1000
    assert (pace.speed, pace.seconds) == (40.0, 20.0), "what is done, stays"


def test_pace_forgets_a_slow_start():
    clock = Clock()
    pace = Pace(blocks=10_000, pixels=10**9, clock=clock)
    clock.now += 600
    pace.advance(blocks=1, pixels=1)
    for _ in range(2000):
        clock.now += 0.1
        pace.advance(blocks=1, pixels=1000)
    assert pace.speed == pytest.approx(10_000, rel=0.01)
    assert SPAN_SECONDS < 200


def test_pace_of_nothing():
    assert Pace(blocks=0, pixels=0).share == 1.0
    assert Pace(blocks=4, pixels=0, done_blocks=1).share == 0.25


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (75.4, "1:15"), (3700, "1:01:40"), (90000, "25:00:00")]
)
def test_clock_text(seconds, text):
    assert clock_text(seconds) == text


def test_plain_lines_are_few():
    stream = io.StringIO()
    tell(Plain(stream), blocks=1000)
    lines = stream.getvalue().splitlines()
    assert lines[:4] == [
        "2 scenes, 1000 blocks, dashboard at http://127.0.0.1:8787/status",
        "segment a[1]: 1000 blocks, 1000.0 Mpx",
        "skipping [b]nodata[/b]",
        "warning: a worker died",
    ]
    assert re.fullmatch(r"segment a\[1\]: 1000/1000 blocks  \d+\.\d Mpx/s  in 0:0\d", lines[4])
    assert lines[5:] == ["products are in out/"]


def test_plain_tells_each_share_when_time_is_no_matter():
    stream = io.StringIO()
    reporter = Plain(stream, seconds=0, share=0.25)
    reporter.stage("a", blocks=16, pixels=16, done_blocks=8, done_pixels=8)
    for _ in range(8):
        reporter.advance(blocks=1, pixels=1)
    heads = [line.split(" blocks")[0] for line in stream.getvalue().splitlines()]
    assert heads == ["a: 16", "a: 12/16", "a: 16/16"]
    assert "8 of them done before" in stream.getvalue()


def test_json_lines_are_json():
    stream = io.StringIO()
    tell(JsonLines(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    names = ["started", "stage", "message", "warning", *["advance"] * 4, "done"]
    assert [e["event"] for e in events] == names
    assert events[0]["dashboard"] == "http://127.0.0.1:8787/status"
    last = events[-2]
    assert (last["stage"], last["done_blocks"], last["done_pixels"]) == (
        "segment a[1]",
        4,
        4 * 10**6,
    )
    assert last["pixels_per_second"] > 0
    assert last["seconds_left"] == 0
    assert all(e["time"].endswith("+00:00") for e in events)


def test_a_closed_stream_does_not_end_the_run():
    for make in (Plain, JsonLines):
        stream = io.StringIO()
        stream.close()
        tell(make(stream))


def test_reporters_by_mode():
    pipe = io.StringIO()
    assert isinstance(make_reporter("auto", pipe), Plain)
    assert isinstance(make_reporter("plain", pipe), Plain)
    assert isinstance(make_reporter("json", pipe), JsonLines)
    assert isinstance(make_reporter("quiet", pipe), Silent)
    tell(make_reporter("quiet", pipe))
    assert not pipe.getvalue()


TALK = """
import sys, time
from geoseg.run.progress import make_reporter
r = make_reporter("auto", sys.stderr)
print(type(r).__name__)
r.started(scenes=1, blocks=3, dashboard="http://127.0.0.1:8787/status")
r.stage("segment [bold]x[/bold]", blocks=3, pixels=3_000_000)
for i in range(3):
    time.sleep(0.25)
    r.advance(blocks=1, pixels=1_000_000)
    r.warning(f"number {i}")
r.done("done")
print("result")
"""


def in_terminal(**environment):
    """What a run writes to a real pseudo terminal (stderr), and to stdout."""
    ours, theirs = pty.openpty()
    kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    process = subprocess.Popen(
        [sys.executable, "-c", TALK],
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
        env=kept | {"TERM": "xterm-256color", "COLUMNS": "110"} | environment,
    )
    os.close(theirs)
    chunks = []

    def read():
        try:
            while chunk := os.read(ours, 4096):
                chunks.append(chunk)
        except OSError:  # how Linux says that the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    out, _ = process.communicate(timeout=60)
    reader.join()
    os.close(ours)
    assert process.returncode == 0
    return b"".join(chunks).decode(), out


def test_a_terminal_gets_a_bar():
    text, out = in_terminal()
    assert out == "Terminal\nresult\n", "stdout is for results"
    assert text.count("http://127.0.0.1:8787/status") == 1
    assert "segment [bold]x[/bold]" in text
    assert re.search(r"1/3 blocks  \d\.\d Mpx/s  0:0\d left", text)
    assert re.search(r"3/3 blocks  \d\.\d Mpx/s  in 0:0\d", text)
    assert "\x1b[2K" in text, "lines are drawn anew"
    assert "\x1b[33mwarning: number 1\x1b[0m" in text
    assert text.index("\x1b[?25l") < text.index("\x1b[?25h"), "the cursor comes back"


def test_no_color_is_respected():
    text, _ = in_terminal(NO_COLOR="1")
    assert "warning: number 1" in text
    assert not re.search(r"\x1b\[3[0-7]m|\x1b\[38", text)


def test_a_terminal_that_cannot_move_its_cursor_gets_lines():
    text, out = in_terminal(TERM="dumb")
    assert out.startswith("Plain")
    assert "\x1b" not in text


def test_several_and_logs():
    import logging

    streams = io.StringIO(), io.StringIO()
    reporter = Several([Plain(streams[0]), JsonLines(streams[1]), Silent()])
    tell(reporter)
    logger = logging.getLogger("distributed.nanny")
    before = logging.getLogger("distributed").handlers[:]
    with logs_to(reporter):
        logger.warning("Restarting worker (status=Status.running)")
        logger.getChild("memory").warning("Worker tcp://1:2 (pid=3) exceeded 100% memory budget.")
        logger.info("not of interest")
        logger.error("disk full")
    assert logging.getLogger("distributed").handlers == before
    tail = streams[0].getvalue().splitlines()[-3:]
    assert tail == [
        "warning: a worker process died; another one takes its place",
        "warning: a worker process took more than its memory limit",
        "warning: disk full",
    ]
    assert json.loads(streams[1].getvalue().splitlines()[-1])["text"] == "disk full"


def test_terminal_on_a_stream_that_is_none():
    from geoseg.run.terminal import Terminal

    tell(Terminal(io.StringIO()))


def test_status_file(tmp_path):
    folder = tmp_path / "out"
    with pytest.raises(InputError, match=r"out: no run has written here"):
        read_status(folder)
    file = StatusFile(folder, seconds=0)
    file.started(scenes=2, blocks=9, dashboard=None)
    file.stage("segment", blocks=4, pixels=400, done_blocks=1, done_pixels=100)
    file.advance(blocks=1, pixels=100)
    file.warning("look")
    status = read_status(folder)
    assert (status.state, status.stage, status.text) == ("running", "segment", "look")
    assert (status.blocks, status.done_blocks, status.done_pixels) == (4, 2, 200)
    assert (status.pid, status.warnings, status.scenes) == (os.getpid(), 1, 2)
    assert status.started <= status.updated
    file.done("all well")
    assert read_status(folder).state == "done"
    file.close()
    assert list(folder.iterdir()) == [folder / "status.json"]


def test_status_is_written_now_and_then_only(tmp_path):
    file = StatusFile(tmp_path, seconds=1000)
    file.stage("a", blocks=4, pixels=4)
    file.advance(blocks=1, pixels=1)
    assert read_status(tmp_path).done_blocks == 0
    file.close()
    assert read_status(tmp_path).done_blocks == 1


def test_status_of_a_process_that_is_gone(tmp_path):
    code = f"from geoseg.run.status import StatusFile; StatusFile({str(tmp_path)!r}).message('x')"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert read_status(tmp_path).state == "lost"
    # Its number may be another process's by now; and other machines have other processes.
    said = json.loads((tmp_path / "status.json").read_text())
    (tmp_path / "status.json").write_text(json.dumps(said | {"pid": os.getpid()}))
    assert read_status(tmp_path).state == "lost"
    (tmp_path / "status.json").write_text(json.dumps(said | {"host": "elsewhere"}))
    assert read_status(tmp_path).state == "running"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"state": 1', "null"])
def test_status_files_that_are_none(tmp_path, content):
    (tmp_path / "status.json").write_text(content)
    with pytest.raises(InputError, match=r"status\.json: is not the status of a run"):
        read_status(tmp_path)


def test_a_status_that_cannot_be_written_is_let_be(tmp_path):
    (tmp_path / "file").touch()
    tell(StatusFile(tmp_path / "file"))
