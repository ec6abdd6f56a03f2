"""What is found in labels: faults to mend, warnings to look at, notes to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["fault", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        level: ``fault``: labels cannot be trusted as they are; ``warning``: somebody should look;
            ``note``: good to know, or why something was not checked.
        check: Which check found it: ``taxonomy``, ``shapes``, ``slivers``, ``alignment``,
            ``leakage`` or ``balance``.
        what: A word for programs, as in ``unknown-code``.
        text: A sentence for people.
        file: Where; "" for the whole set.
        count: How many pixels, features or files it is about.
        places: First coordinates ``(x, y)``, in the CRS of the file (pixels where it has none).
    """

    level: Level
    check: str
    what: str
    text: str
    file: str = ""
    count: int = 0
    places: tuple[tuple[float, float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON can say it."""
        return {
            "level": self.level,
            "check": self.check,
            "what": self.what,
            "text": self.text,
            "file": self.file,
            "count": self.count,
            "places": [list(place) for place in self.places],
        }
