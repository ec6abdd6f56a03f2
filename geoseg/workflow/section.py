"""What all sections of a workflow have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

# No key can hold this character, so these names in error locations are not keys.
TAG = "\0"


class Section(BaseModel):
    """Keys and values that cannot change, and no other keys."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        defer_build=True,
        hide_input_in_errors=True,
    )
