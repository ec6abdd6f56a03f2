"""A model card with all that one may have."""

from geoseg.legend import LEGENDS
from geoseg.models.base import ModelCard

CARD = ModelCard(
    name="water-s2",
    version="1.2.3",
    bands=("green", "nir"),
    units="reflectance",
    mean=(0.1, 0.3),
    std=(0.05, 0.1),
    legend=LEGENDS["water"],
    stride=8,
    reach=48,
    size=256,
    margin=48,
    gsd=(10.0, 20.0),
    architecture={"name": "geoseg-unet", "widths": [4, 8, 8, 8]},
    weights="weights.safetensors",
    sha256="0123456789abcdef" * 4,
    activation_bytes=300,
    about={
        "title": "Water",
        "description": "Lakes and rivers",
        "license": "MIT",
        "created": "2025-02-03T04:05:06Z",
        "parameters": 12345,
        "temperature": 1.5,
        "training": {"steps": 10, "sets": ["a", "b"], "held_out": None},
    },
)
