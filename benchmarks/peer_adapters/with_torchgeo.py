"""torchgeo: RasterDataset, GridGeoSampler and DataLoader as in its docs.

It has nothing that joins chips again: each pixel is taken from the chip in whose middle it lies,
which is the best that can be done with them.
"""

import numpy as np
import rasterio
import torch
from job import Job, Scaling, say
from torch.utils.data import DataLoader
from torchgeo.datasets import RasterDataset, stack_samples
from torchgeo.samplers import GridGeoSampler

job = Job.given()
network, scaling = job.network(), Scaling(job)


def scaled(sample: dict[str, object]) -> dict[str, object]:
    """A sample with numbers as the network wants them."""
    return {**sample, "image": scaling(sample["image"])}


with rasterio.open(job.scene) as file:
    (height, width), transform = file.shape, file.transform
dataset = RasterDataset(job.scene, transforms=scaled)
sampler = GridGeoSampler(dataset, size=job.chip, stride=job.stride)
index = np.zeros((height, width), np.uint8)
with torch.inference_mode():
    for batch in DataLoader(
        dataset, batch_size=job.batch, sampler=sampler, collate_fn=stack_samples
    ):
        found = network(batch["image"]).argmax(1).to(torch.uint8).numpy()
        for best, (x, y, _) in zip(found, batch["bounds"], strict=True):
            col, row = (round(v) for v in ~transform * (x.start, y.stop))
            # Rows come from below: what lies above and right of the rim comes later.
            up, left = max(row, 0), col + (job.margin if col else 0)
            down = row + job.chip - (job.margin if row + job.chip < height else 0)
            part = best[up - row : down - row, left - col : width - col]
            index[up:down, left : left + part.shape[1]] = part
job.write(index)
print(f"seams: {(height - job.margin) % job.stride} {job.margin}")
say("torchgeo", "torch", "rasterio")
