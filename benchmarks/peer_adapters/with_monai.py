"""MONAI: sliding_window_inference over the whole scene in memory, Gaussian weights."""

import torch
from job import Job, say
from monai.inferers import sliding_window_inference

job = Job.given()
network = job.network()
x = torch.from_numpy(job.scaled())[None]
with torch.inference_mode():
    scores = sliding_window_inference(
        x,
        (job.chip, job.chip),
        job.batch,
        network,
        overlap=2 * job.margin / job.chip,
        mode="gaussian",
    )
job.write(scores[0].argmax(0).to(torch.uint8).numpy())
print("seams: 0")
say("monai", "torch")
