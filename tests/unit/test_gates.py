"""Gates: shared by many, or held alone."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from geoseg.io.gates import Gate, gate_of


def test_many_share_at_a_time() -> None:
    gate, together = Gate(), threading.Barrier(4, timeout=20)

    def pass_through() -> None:
        with gate.shared():
            together.wait()  # opens only when all four are inside

    with ThreadPoolExecutor(4) as pool:
        for passed in [pool.submit(pass_through) for _ in range(4)]:
            passed.result()


def test_nobody_shares_with_who_is_alone() -> None:
    gate, inside, alone, seen = Gate(), set[int](), set[int](), list[str]()

    def work(seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311
        for _ in range(200):
            if dice.random() < 0.3:
                with gate.alone():
                    alone.add(seed)
                    if inside or len(alone) > 1:
                        seen.append(f"{inside} {alone}")
                    alone.discard(seed)
            else:
                with gate.shared():
                    inside.add(seed)
                    if alone:
                        seen.append(f"{inside} {alone}")
                    inside.discard(seed)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert seen == []


def test_who_waits_to_be_alone_goes_before_those_who_come_later() -> None:
    gate, order, first_in, go_on = Gate(), list[str](), threading.Event(), threading.Event()

    def first() -> None:
        with gate.shared():
            first_in.set()
            assert go_on.wait(20)

    def alone() -> None:
        with gate.alone():
            order.append("alone")

    def later() -> None:
        with gate.shared():
            order.append("later")

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(first)]
        assert first_in.wait(20)
        jobs.append(pool.submit(alone))
        while not gate._waiting:
            threading.Event().wait(0.001)
        jobs.append(pool.submit(later))
        go_on.set()
        for job in jobs:
            job.result(20)
    assert order == ["alone", "later"]


@pytest.mark.parametrize("way", ["shared", "alone"])
def test_an_error_inside_leaves_the_gate_open(way: str) -> None:
    gate = Gate()
    with pytest.raises(KeyError), getattr(gate, way)():
        raise KeyError
    with gate.alone():
        pass
    with gate.shared():
        pass


def test_a_name_has_one_gate() -> None:
    gate = gate_of("/vsicurl/http://a/b.tif")
    assert gate_of("/vsicurl/http://a/b.tif") is gate
    assert gate_of("/vsicurl/http://a/c.tif") is not gate
