"""Blocks on threads of this process: given up where they take too long, as those of workers are."""

from contextlib import closing
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
from range_server import Faults, serving
from rasters import write

import geoseg
from geoseg.api import after
from geoseg.grid import Window
from geoseg.run.patience import LateError, block_timeout
from geoseg.run.reporter import Silent
from geoseg.run.threads import InBackground, each_block
from geoseg.workflow import loads

WINDOWS = [Window(0, y, 8, y + 8) for y in range(0, 80, 8)]
CODES = {"driver": "COG", "blocksize": 128, "compress": "none", "nodata": 0}


@pytest.fixture
def hangs():
    """Work that hangs on the fourth window until the test is over."""
    over = Event()

    def work(window):
        if window == WINDOWS[3]:
            over.wait(60)
        return window

    yield work
    over.set()


def test_a_block_that_hangs_ends_its_stage_by_name(hangs):
    done = []
    with block_timeout(0.2), pytest.raises(LateError) as raised:
        done.extend(each_block(hangs, WINDOWS, name="classes", reporter=Silent(), workers=2))
    assert str(raised.value).startswith("classes: not done within 0.2 s (run.block_timeout): ")
    assert raised.value.exit_code == 1


def test_what_was_done_in_time_comes_before_it(hangs):
    with block_timeout(0.2), closing(
        each_block(hangs, WINDOWS, name="classes", reporter=Silent(), workers=1)
    ) as came:  # fmt: skip
        assert [next(came) for _ in range(3)] == WINDOWS[:3]
        with pytest.raises(LateError):
            next(came)


def test_the_limit_is_that_of_where_the_stage_was_asked_for(hangs):
    with block_timeout(0.2):
        stage = each_block(hangs, WINDOWS, name="classes", reporter=Silent())
    with closing(InBackground(stage)) as there, pytest.raises(LateError):
        list(there)


def test_slow_stages_of_quick_blocks_are_in_time():
    pause = Event()
    with block_timeout(0.5):
        came = each_block(
            lambda _: pause.wait(0.1), WINDOWS, name="s", reporter=Silent(), workers=1
        )
        assert len(list(came)) == len(WINDOWS)


def test_errors_come_as_they_are():
    def fails(window):
        raise ValueError(window)

    with pytest.raises(ValueError, match="Window"):
        list(each_block(fails, WINDOWS, name="s", reporter=Silent()))


@pytest.mark.parametrize("section", after.SECTIONS)
def test_sections_that_follow_have_the_limit_of_their_workflow(monkeypatch, hangs, section):
    """Their own maps are local files, which no test can let hang: the stage stands for theirs."""
    workflow = loads(
        "geoseg: 1\nname: t\ninput: {kind: sample}\nmodel: m\noutput: {directory: o}\n"
        "run: {block_timeout: 1 s}\nchange: {}\nalerts: {store: a.zarr, forest: Trees}\n"
        "water: {directory: w}\nland_use: {directory: l}\n"
    )
    plan = SimpleNamespace(workflow=workflow.model_copy(
        update={other: None for other in after.SECTIONS if other != section}
    ))  # fmt: skip

    def follow(plan, results, reporter):
        list(each_block(hangs, WINDOWS, name=section, reporter=reporter))

    monkeypatch.setattr(f"geoseg.api.{section}.follow", follow)
    with pytest.raises(LateError, match=rf"^{section}: not done within 1 s \(run.block_timeout\)"):
        after.after_scenes(plan, (), Silent())


class _Mute(Silent):
    """Lets the server be mute from the first stage on."""

    def __init__(self, server):
        self.server = server

    def stage(self, name, *, blocks, pixels):
        self.server.reset(Faults(latency=20))


def test_a_server_that_is_mute_amid_a_vectorization(tmp_path):
    (tmp_path / "served").mkdir()
    # More than what comes with the header.
    codes = np.random.default_rng(0).integers(1, 5, (900, 900)).astype(np.uint8)
    write(tmp_path / "served/codes.tif", codes, **CODES)
    out = tmp_path / "out.gpkg"
    with serving(tmp_path / "served") as server, block_timeout(1):
        with pytest.raises(LateError, match="not done within 1 s"):
            geoseg.vectorize(f"{server.url}/codes.tif", out, reporter=_Mute(server))
        server.reset()
    assert list(tmp_path.iterdir()) == [tmp_path / "served"]
