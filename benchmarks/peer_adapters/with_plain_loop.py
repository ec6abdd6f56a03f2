"""Plain loop: chips side by side without overlap, as a first notebook does it."""

import numpy as np
import torch
from job import Job, say

job = Job.given()
network, x = job.network(), job.scaled()
_, height, width = x.shape
index = np.zeros((height, width), np.uint8)
with torch.inference_mode():
    for y in range(0, height, job.chip):
        for x0 in range(0, width, job.chip):
            chip = x[:, y : y + job.chip, x0 : x0 + job.chip]
            _, rows, cols = chip.shape
            # Networks that halve need multiples of 8.
            chip = np.pad(chip, ((0, 0), (0, -rows % 8), (0, -cols % 8)))
            best = network(torch.from_numpy(chip)[None])[0].argmax(0)
            index[y : y + rows, x0 : x0 + cols] = best[:rows, :cols].numpy()
job.write(index)
print(f"seams: 0 / {job.chip}")
say("torch", "rasterio")
