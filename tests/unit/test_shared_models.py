"""Models that scenes share: opened once, never two at a time in one, let go in the end."""

import threading
from dataclasses import dataclass, field

import pytest

from geoseg.models.shared import Shared


@dataclass
class Opening:
    """Counts how often a model is opened."""

    parallel: bool = False
    opened: list = field(default_factory=list)

    def __call__(self):
        self.opened.append(object())
        return self


def test_scenes_after_each_other_and_at_once_have_one_model():
    shared, opening = Shared(), Opening()
    first, second = (shared.borrow("a", opening, threads=4) for _ in range(2))
    assert first.segmenter is second.segmenter
    assert first.pool is second.pool
    first.give_back()
    second.give_back()
    third = shared.borrow("a", opening, threads=4)
    assert len(opening.opened) == 1
    third.give_back()


@pytest.mark.parametrize(("parallel", "threads"), [(False, 1), (True, 2)])
def test_blocks_of_all_scenes_take_turns_in_the_model(parallel, threads):
    shared, opening = Shared(), Opening(parallel)
    lent = [shared.borrow("a", opening, threads=2) for _ in range(3)]
    barrier, most, inside, lock = threading.Event(), 0, 0, threading.Lock()

    def chip():
        nonlocal most, inside
        with lock:
            inside += 1
            most = max(most, inside)
        barrier.wait(0.02)
        with lock:
            inside -= 1

    for future in [one.pool.submit(chip) for one in lent for _ in range(3)]:
        future.result()
    assert most == threads
    for one in lent:
        one.give_back()


def test_a_model_goes_when_another_comes_or_when_its_time_is_over():
    shared, opening = Shared(), Opening()
    shared.borrow("a", opening, threads=1).give_back()
    in_use = shared.borrow("b", opening, threads=1)
    shared.borrow("a", opening, threads=1).give_back()
    assert len(opening.opened) == 3, "a went when b came"
    again = shared.borrow("b", opening, threads=1)
    assert len(opening.opened) == 3, "b was in use when a came"
    in_use.give_back()
    in_use.give_back()
    again.give_back()
    at_once = Shared(kept=0.0)
    for _ in range(2):
        at_once.borrow("a", opening, threads=1).give_back()
    assert len(opening.opened) == 5


def test_one_that_cannot_be_opened_is_tried_again():
    shared, opening = Shared(), Opening()

    def broken():
        raise ValueError("no weights")

    with pytest.raises(ValueError, match="no weights"):
        shared.borrow("a", broken, threads=1)
    shared.borrow("a", opening, threads=1).give_back()
    assert len(opening.opened) == 1
