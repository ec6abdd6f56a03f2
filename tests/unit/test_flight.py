"""Several things under way at once: how many, on which thread, and how they are stopped."""

import signal
import threading
import time

import pytest

from geoseg.errors import StoppedError
from geoseg.run.base import Stop
from geoseg.run.flight import Flight
from geoseg.run.stopping import StopRequest, stop_on_signals, stop_together


def never():
    return False


def test_never_more_than_the_most_and_begun_in_order():
    begun, now, most, lock = [], 0, 0, threading.Lock()

    def do(number):
        nonlocal now, most
        with lock:
            begun.append(number)
            now += 1
            most = max(most, now)
        time.sleep(0.005)
        with lock:
            now -= 1
        return number * 2

    flight = Flight(do, most=3, enough=never)
    came = dict(flight.outcomes(range(20), StopRequest()))
    assert came == {n: 2 * n for n in range(20)}
    assert begun == sorted(begun)
    assert most == 3


def test_none_is_begun_while_there_is_work_enough():
    under_way, most = set(), 0

    def do(number):
        nonlocal most
        under_way.add(number)
        most = max(most, len(under_way))
        time.sleep(0.005)
        under_way.discard(number)

    flight = Flight(do, most=9, enough=lambda: len(under_way) >= 1)
    assert len(list(flight.outcomes(range(5), StopRequest()))) == 5
    assert most <= 2, "one may not have said yet that it has work"


def test_errors_are_outcomes_and_others_go_on():
    def do(number):
        if number == 1:
            raise ValueError("the second")
        return number

    came = dict(Flight(do, most=2, enough=never).outcomes(range(4), StopRequest()))
    assert str(came.pop(1)) == "the second"
    assert came == {0: 0, 2: 2, 3: 3}


def test_calls_come_to_the_thread_that_waits():
    where = []

    def do(number):
        with pytest.raises(ZeroDivisionError):
            flight.here(lambda: 1 // 0)
        return flight.here(lambda: where.append(threading.get_ident()) or number)

    flight = Flight(do, most=4, enough=never)
    assert dict(flight.outcomes(range(8), StopRequest())) == {n: n for n in range(8)}
    assert set(where) == {threading.get_ident()}
    assert flight.here(lambda: 7) == 7


def test_asked_to_stop_none_is_begun_and_those_under_way_hear_of_it():
    def do(number):
        stop = Stop()
        with stop_on_signals(stop, lambda: None) as request:
            assert request is shared
            if number == 1:
                signal.raise_signal(signal.SIGINT)
            while not stop.asked:
                time.sleep(0.001)
        return number

    with stop_together(lambda: None) as shared:
        came = dict(Flight(do, most=3, enough=never).outcomes(range(50), shared))
    assert {0, 1} <= set(came) <= {0, 1, 2}
    assert shared.by == " by SIGINT"
    with shared.joined(late := Stop()):
        assert late.asked


def test_a_second_signal_leaves_those_alone_that_hang():
    hanging = threading.Event()

    def do(_number):
        stop = Stop()
        with stop_on_signals(stop, lambda: None):
            while not stop.at_once:
                time.sleep(0.001)
        hanging.set()
        with pytest.raises(StoppedError):
            flight.here(lambda: None)  # nobody waits there any more

    def fly():
        with stop_together(lambda: None) as request:
            list(flight.outcomes(range(2), request))

    flight = Flight(do, most=1, enough=never)
    for after, number in ((0.05, signal.SIGINT), (0.3, signal.SIGTERM)):
        threading.Timer(after, signal.raise_signal, [number]).start()
    with pytest.raises(StoppedError, match="at once") as told:
        fly()
    assert told.value.exit_code == 130, "of the first"
    assert hanging.wait(5)
