"""Dynamic World's network keeps the segmenters' contract, with its own way of scaling."""

import pytest
import torch
from published import random_network

from geoseg.models.dynamicworld import CARD
from geoseg.models.torch_engine import TorchSegmenter
from geoseg.testing import SegmenterContract


@pytest.fixture(autouse=True)
def _leave_threads_alone():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class TestDynamicWorld(SegmenterContract):
    def open(self, *, threads):
        return TorchSegmenter(CARD, random_network(), device="cpu", threads=threads)
