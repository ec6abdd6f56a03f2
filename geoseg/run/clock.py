"""What time it is in a run: given from outside, so that a year of nights can be tried in a minute."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Clock:
    """Begins at ``began`` (UTC), and goes on as seconds pass."""

    began: datetime
    _started: float = field(default_factory=time.monotonic, repr=False)

    @classmethod
    def at(cls, now: datetime | None = None) -> Clock:
        """A clock that shows ``now``, or the time of this machine; naive times are UTC."""
        now = datetime.now(UTC) if now is None else now
        return cls(now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC))

    def now(self) -> datetime:
        """The time of day."""
        return self.began + timedelta(seconds=time.monotonic() - self._started)

    def stamp(self) -> str:
        """The time of day as ISO 8601, in whole seconds."""
        return self.now().isoformat(timespec="seconds")
