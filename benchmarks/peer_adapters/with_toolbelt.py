"""pytorch-toolbelt: ImageSlicer and TileMerger as in its README, pyramid weights."""

import numpy as np
import torch
from job import Job, say
from pytorch_toolbelt.inference.tiles import ImageSlicer, TileMerger
from torch.utils.data import DataLoader

job = Job.given()
network = job.network()
image = np.ascontiguousarray(job.scaled().transpose(1, 2, 0))
tiler = ImageSlicer(image.shape, job.chip, job.stride, weight="pyramid")
tiles = [torch.from_numpy(tile.transpose(2, 0, 1).copy()) for tile in tiler.split(image)]
merger = TileMerger(tiler.target_shape, len(job.codes), tiler.weight)
with torch.inference_mode():
    for batch, at in DataLoader(list(zip(tiles, tiler.crops, strict=True)), batch_size=job.batch):
        merger.integrate_batch(network(batch), at)
index = merger.merge_().argmax(0).to(torch.uint8).numpy()
job.write(tiler.crop_to_orignal_size(index))
print(f"seams: {(-tiler.margin_left) % job.stride}")
say("pytorch-toolbelt", "opencv-python", "torch")
