"""Ctrl-C while blocks are made on other threads: nothing is left running, nothing passes for whole."""

import threading
from concurrent.futures import CancelledError
from threading import Event

import pytest

from geoseg.grid import Window
from geoseg.run.reporter import Silent
from geoseg.run.threads import Closable, InBackground, each_block

WINDOWS = [Window(0, y, 8, y + 8) for y in range(0, 800, 8)]


def ended(name):
    """Whether all threads of that name end."""
    for thread in threading.enumerate():
        if thread.name.startswith(name):
            thread.join(10)
            if thread.is_alive():
                return False
    return True


def test_blocks_are_closed_while_another_thread_waits_for_one():
    begun, over, done = Event(), Event(), []

    def work(window):
        done.append(window)
        begun.set()
        assert over.wait(10)
        return window

    made = each_block(work, WINDOWS, name="slow", reporter=Silent(), workers=1)
    told = []

    def ask():
        try:
            told.extend(made)
        except CancelledError as error:
            told.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    assert begun.wait(10)
    threading.Timer(0.1, over.set).start()
    made.close()
    asking.join(10)
    assert not asking.is_alive()
    assert [type(one) for one in told] == [Window, CancelledError], "those made are not all"
    assert len(done) <= 3, "as many as were in hand"
    assert ended("slow")


def test_what_is_closed_does_not_pass_for_the_end():
    made = Closable(number for number in range(3))
    assert next(made) == 0
    made.close()
    made.close()
    with pytest.raises(CancelledError):
        next(made)


def test_an_error_of_closing_comes_out():
    def items():
        try:
            yield 1
        finally:
            raise ValueError("no such thing")

    made = Closable(items())
    next(made)
    with pytest.raises(ValueError, match="no such thing"):
        made.close()


def test_ctrl_c_as_the_background_begins_leaves_no_thread(monkeypatch):
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        if thread.name.startswith("background"):
            raise KeyboardInterrupt  # its pool does not know this thread then

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    kept = []
    with pytest.raises(KeyboardInterrupt) as raised:
        kept.append(InBackground(iter([1, 2, 3])))
    assert not kept
    assert ended("background"), raised  # though what raised is held, and the pool with it


def test_closing_the_background_ends_what_its_items_are_made_from():
    over, asked = Event(), []

    def work(window):
        asked.append(window)
        over.wait(0.01)
        return window

    blocks = each_block(work, WINDOWS, name="many", reporter=Silent(), workers=1)
    background = InBackground((list(blocks) for _ in range(1)), source=blocks)
    while not asked:
        over.wait(0.001)
    background.close()
    assert len(asked) < len(WINDOWS), "the one item takes all blocks"
    assert ended("background")
    assert ended("many")
