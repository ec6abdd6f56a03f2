"""How many scenes of a run are under way at once, in a run and on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geoseg.workflow import Workflow

MOST_AT_ONCE = 64
"""Scenes under way at once, where the workflow does not say; most runs need far fewer."""

AHEAD = 2
"""Blocks that are kept in hand for each that workers do now, so that none runs out of them."""

LOOKED_AT = 3
"""Scenes that the client looks at beside each other: more would only keep the first from beginning."""


def most_at_once(workflow: Workflow) -> int:
    """Scenes that may be under way at once."""
    if workflow.model.numbers == "int8":
        return 1  # each scene has networks of its own, and memory is planned for one
    most = workflow.run.scenes_at_once
    return MOST_AT_ONCE if most == "auto" else most
