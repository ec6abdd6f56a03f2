"""Where memory ends, less is computed at once; where it never suffices, one error says so."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from geoseg.errors import BlockError
from geoseg.models.base import whole_batch
from geoseg.models.torch_device import Tuning
from geoseg.models.torch_engine import TorchSegmenter
from geoseg.models.views import CommitteeSegmenter
from geoseg.testing import LocalMean, fake_card, random_batch

CARD = fake_card("narrow", bands=("a", "b"))
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Narrow(nn.Module):
    """Takes so many chips at once, and so many callers; beyond that its memory ends."""

    def __init__(self, chips, callers=99):
        super().__init__()
        self.chips, self.callers = chips, callers
        self.seen, self.inside, self.most = [], 0, 0
        self.meet = threading.Event()
        self.guard = threading.Lock()

    def forward(self, x):
        with self.guard:
            self.inside += 1
            self.most = max(self.most, self.inside)
            full = self.inside > self.callers
        try:
            self.meet.wait(0.02)
            self.seen.append(len(x))
            if len(x) > self.chips or full:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
            return x[:, :2].clone()
        finally:
            with self.guard:
                self.inside -= 1


def segmenter(network, **tuning):
    found = TorchSegmenter(CARD, network, device="cpu", tuning=Tuning(**tuning))
    network.seen.clear()
    return found


def test_half_as_many_until_they_fit_and_said_once_each(caplog):
    network = Narrow(chips=3)
    model = segmenter(network, at_once=8)
    batch = random_batch(CARD, (16, 24), chips=5)
    with caplog.at_level(logging.WARNING):
        found = model.scores(batch)
        again = model.scores(batch)
    assert network.seen == [8, 4, 2, 2, 2, 2, 2, 2]
    assert model.chips_at_once((16, 24)) == 2
    said = "model narrow: {} chips of 16 x 24 px at once do not fit into the memory of cpu: {} from"
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"{said.format(*pair)} now on" for pair in ((8, 4), (4, 2))]
    wanted = segmenter(Narrow(chips=99)).scores(batch)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(again, wanted)


def test_another_shape_is_tried_as_it_was():
    network = Narrow(chips=2)
    model = segmenter(network, at_once=4)
    model.scores(random_batch(CARD, (16, 16)))
    assert model.chips_at_once((16, 16)) == 2
    assert model.chips_at_once((8, 8)) == 4


def test_one_chip_that_does_not_fit_is_an_error_that_says_what_would():
    network = Narrow(chips=1)
    model = segmenter(network, at_once=2)
    network.chips = 0
    with pytest.raises(
        BlockError,
        match=r"^model narrow: a chip of 16 x 16 px does not fit into the memory of cpu: make "
        r"`tiling.size` smaller, .*bf16.*`model.device: cpu`.*\(CUDA out of memory",
    ):
        model.classify(random_batch(CARD, (16, 16), chips=3))
    network.chips = 9
    assert model.classify(random_batch(CARD, (16, 16), chips=3))[0].shape == (3, 16, 16)


def test_calls_that_disturb_each_other_become_fewer():
    network = Narrow(chips=1, callers=1)
    model = segmenter(network, at_once=1, lanes=3)
    batches = [random_batch(CARD, (16, 16), chips=4, seed=k) for k in range(6)]
    wanted = [segmenter(Narrow(chips=9)).scores(batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        for found, alone in zip(pool.map(model.scores, batches), wanted, strict=True):
            np.testing.assert_array_equal(found, alone)


def test_no_more_calls_than_lanes():
    network = Narrow(chips=9)
    model = segmenter(network, at_once=1, lanes=2)
    network.most = 0
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(model.scores, [random_batch(CARD, (16, 16), chips=2)] * 12))
    assert network.most == 2


@pytest.mark.parametrize("error", [ValueError("no such layer"), KeyboardInterrupt()])
def test_other_errors_are_not_about_memory_and_leave_the_lane_free(error):
    class Breaking(Narrow):
        broken = False

        def forward(self, x):
            if self.broken:
                raise error
            return super().forward(x)

    network = Breaking(chips=9)
    model = segmenter(network, at_once=4, lanes=1)
    network.broken = True
    batch = random_batch(CARD, (16, 16), chips=3)
    for _ in range(3):
        with pytest.raises(type(error)):
            model.scores(batch)
    network.broken = False
    assert model.chips_at_once((16, 16)) == 4
    assert np.isfinite(model.scores(batch)).all()


def test_a_failed_allocation_inside_a_library_counts():
    class Library(Narrow):
        def forward(self, x):
            if len(x) > 2:
                raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")
            return super().forward(x)

    model = segmenter(Library(chips=9), at_once=4)
    assert np.isfinite(model.scores(random_batch(CARD, (16, 16), chips=3))).all()
    assert model.chips_at_once((16, 16)) == 2


def test_batches_hold_as_many_chips_as_are_computed_together():
    model = segmenter(Narrow(chips=9), at_once=4)
    shape = (16, 16)
    assert [whole_batch(model, chips, shape) for chips in (1, 4, 5)] == [4, 4, 8]
    six = segmenter(Narrow(chips=9), at_once=6)
    both = CommitteeSegmenter([model, six])
    assert [whole_batch(both, chips, shape) for chips in (1, 13)] == [12, 24]
    assert whole_batch(LocalMean(3, bands=("a", "b")), 3, shape) == 3, "it does not say"


@pytest.mark.parametrize(
    ("side", "wanted"), [(64, 16), (256, 16), (512, 4), (568, 2), (1024, 1), (1096, 1), (4096, 1)]
)
def test_a_gpu_is_given_about_a_megapixel(side, wanted):
    assert Tuning().chips(CUDA, (side, side)) == wanted
    assert Tuning().chips(CPU, (side, side)) == 1
    assert Tuning(at_once=3).chips(CUDA, (side, side)) == 3
