"""dask: map_overlap over the scene in chunks, one torch thread for each of dask's."""

import dask
import dask.array as da
import numpy as np
import rioxarray
import torch
from job import Job, Scaling, say
from numpy.typing import NDArray
from torch import nn

job = Job.given()
network, scaling = job.network(), Scaling(job)
torch.set_num_threads(1)


def predict(chip: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Index of the class, ``(y, x)``."""
    _, rows, cols = chip.shape
    with torch.inference_mode():
        x = scaling(torch.from_numpy(chip.astype(np.float32)))
        # Networks that halve need multiples of 8.
        best = network(nn.functional.pad(x, (0, -cols % 8, 0, -rows % 8))[None]).argmax(1)
    return best[0, :rows, :cols].to(torch.uint8).numpy()


chunks = {"x": job.stride, "y": job.stride}
with rioxarray.open_rasterio(job.scene, chunks=chunks) as scene:
    pixels = scene.data
    classes = da.map_overlap(
        predict,
        pixels,
        depth=(0, job.margin, job.margin),
        boundary="none",
        drop_axis=0,
        dtype=np.uint8,
        meta=np.zeros((0, 0), np.uint8),
    )
    with dask.config.set(scheduler="threads", num_workers=job.cores):
        job.write(classes.compute())
print("seams: 0")
say("dask", "rioxarray", "torch")
