"""Every exception that geoseg raises on purpose.

GeosegError                 exit code 1
├── InputError              exit code 2: the request is wrong; nothing was written
│   ├── WorkflowError       the YAML is wrong: carries file, line, column and key
│   ├── SceneError          a scene cannot be opened, lacks a band, a CRS or a scale
│   ├── CatalogError        a catalog cannot be read, or nothing in it matches
│   │   └── NothingFoundError   it can be read, but no scene matches (a SceneError, too)
│   ├── AreaError           an area of interest is empty, unreadable or beside the scene
│   ├── ModelError          no such model, or its card and weights or scene disagree
│   ├── PlanError           the request cannot be cut into blocks (margins, memory)
│   └── ClusterError        no cluster answers, or its workers do not fit
├── BlockError              a block failed while running
├── RemoteError             a server did not deliver a file; later it may
├── ClusterLostError        the cluster went away while blocks were running
├── ProductError            a product could not be written
├── TrainingError           a network stopped learning: its loss is no number any more
└── LockedError             exit code 75: another run holds this output

KeyboardInterrupt
└── StoppedError            exit code 130 or 143: asked to stop; what is done is kept
"""

from __future__ import annotations

from dataclasses import dataclass

from geoseg.redaction import masked


class GeosegError(Exception):
    """Base class of all errors raised by geoseg; ``str()`` is what the user reads.

    Addresses in it have lost their passwords and signatures.
    """

    exit_code = 1

    def __init__(self, *args: object) -> None:
        super().__init__(*(masked(a) if isinstance(a, str) else a for a in args))


class InputError(GeosegError):
    """The request is wrong. Nothing was written.

    ``placed``: it says by now in which line of a file its reason stands, or that it has none.
    """

    exit_code = 2
    placed = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a workflow, and where; ``str()`` is what a compiler would say.

    ``file`` is as the user called it, or the ``--set`` argument, which has no ``line``. Lines and
    columns count from 1. ``excerpt`` is the line with a caret below, "" where there is none.
    """

    file: str
    line: int | None
    column: int | None
    key: str
    message: str
    excerpt: str = ""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"
        head = ": ".join(part for part in (place, self.key, self.message) if part)
        return f"{head}\n{self.excerpt}" if self.excerpt else head


class WorkflowError(InputError):
    """A workflow file does not say what it should.

    ``problems`` holds all that was found, in the order of the file; it is empty where the error
    has no place in a file.
    """

    def __init__(self, message: str = "", problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems, self.placed = problems, bool(problems)


class SceneError(InputError):
    """A scene cannot be opened, or has not what the model needs."""


class CatalogError(InputError):
    """A catalog cannot be read, or nothing in it matches."""


class NothingFoundError(CatalogError, SceneError):
    """Catalog or folder can be read, but no scene in it matches: there may be some tomorrow."""


class AreaError(InputError):
    """An area of interest is empty, unreadable or does not touch the scene."""


class ModelError(InputError):
    """There is no such model, or its card disagrees with its weights or with the scene."""


class PlanError(InputError):
    """A request that cannot be cut into blocks."""


class ClusterError(InputError):
    """No cluster answers, or its workers do not fit."""


class BlockError(GeosegError):
    """A block failed while running.

    ``wrong_input`` is what it said where the input was why; else it is empty.
    """

    def __init__(self, message: str = "", *, wrong_input: str = "") -> None:
        super().__init__(message)
        self.wrong_input = wrong_input


class RemoteError(GeosegError):
    """A server did not deliver a file, or not all of it; another try may go better."""


class ClusterLostError(GeosegError):
    """The cluster went away while blocks were running; what is done is kept."""


class ProductError(GeosegError):
    """A product could not be written."""


class TrainingError(GeosegError):
    """A network stopped learning: its loss or gradient is no number any more."""


class LockedError(GeosegError):
    """Another run holds this output."""

    exit_code = 75


class StoppedError(KeyboardInterrupt):
    """A run was asked to stop, and did so in good order; what is done is kept.

    Not a :class:`GeosegError`: whatever goes on after a failed scene must not go on after this.
    """

    def __init__(self, message: str, *, exit_code: int = 130) -> None:
        super().__init__(message)
        self.exit_code = exit_code
