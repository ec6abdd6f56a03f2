"""A scene and a model to a plan: blocks, chips, bytes and memory. Reads no pixel."""

from geoseg.plan.memory import Memory, bytes_per_pixel, combining_bytes, memory_needed
from geoseg.plan.scene import LARGEST_BLOCK, ScenePlan, plan_scene
from geoseg.plan.wishes import Refinement, Resources, TilingWish

__all__ = [
    "LARGEST_BLOCK",
    "Memory",
    "Refinement",
    "Resources",
    "ScenePlan",
    "TilingWish",
    "bytes_per_pixel",
    "combining_bytes",
    "memory_needed",
    "plan_scene",
]
