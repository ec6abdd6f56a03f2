"""The answer without tiles: the network on the whole scene at once, in fp32; and as TorchScript.

No row of the table, but what all rows are compared with. Needs 400 bytes a pixel; scenes for which
that is too much are done in strips of full width, each with more rows around than the network sees.
"""

from collections.abc import Iterator

import numpy as np
import torch
from job import Job, say
from numpy.typing import NDArray
from torch import nn

AT_ONCE = 40_000_000
"""Pixels: 16 GB."""
HALVED = 8
"""Networks that halve need multiples of it."""


def strips(shape: tuple[int, int], margin: int) -> Iterator[tuple[slice, slice]]:
    """Rows to predict, and which of these count; one strip where everything fits."""
    rows, cols = shape
    high = rows if rows * cols <= AT_ONCE else AT_ONCE // cols // HALVED * HALVED - 2 * margin
    for top in range(0, rows, high):
        begin, end = max(0, top - margin), min(rows, top + high + margin)
        yield slice(begin, end), slice(top - begin, min(rows, top + high) - begin)


def predicted(network: nn.Module, x: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Index of the class ``(y, x)`` of numbers ``(band, y, x)``."""
    _, rows, cols = x.shape
    padded = torch.from_numpy(np.pad(x, ((0, 0), (0, -rows % HALVED), (0, -cols % HALVED))))
    with torch.inference_mode():
        best = network(padded[None])[0].argmax(0)[:rows, :cols].to(torch.uint8)
    return best.numpy()  # type: ignore[no-any-return]  # torch's stubs


job = Job.given()
network = job.network()
if job.traced:
    example = torch.zeros(1, len(job.gain), job.chip, job.chip)
    torch.jit.trace(job.network(scaled=True), example).save(job.traced)
x = job.scaled()
margin = 2 * (job.margin + -job.margin % HALVED)
parts = [predicted(network, x[:, seen])[kept] for seen, kept in strips(x.shape[1:], margin)]
del x
job.write(np.concatenate(parts))
say("torch")
