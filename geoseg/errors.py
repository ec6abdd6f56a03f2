"""Every exception that geoseg raises on purpose.

GeosegError                 exit code 1
├── InputError              exit code 2: the request is wrong; nothing was written
│   ├── WorkflowError       the YAML is wrong: carries file, line, column and key
│   ├── SceneError          a scene cannot be opened, lacks a band, a CRS or a scale
│   ├── CatalogError        a catalog cannot be read, or nothing in it matches
│   ├── AreaError           an area of interest is empty, unreadable or beside the scene
│   ├── ModelError          no such model, or its card and weights or scene disagree
│   └── PlanError           the request cannot be cut into blocks (margins, memory)
├── BlockError              a block failed while running
├── ProductError            a product could not be written
└── LockedError             exit code 75: another run holds this output
"""

from __future__ import annotations


class GeosegError(Exception):
    """Base class of all errors raised by geoseg; ``str()`` is what the user reads."""

    exit_code = 1


class InputError(GeosegError):
    """The request is wrong. Nothing was written."""

    exit_code = 2


class WorkflowError(InputError):
    """A workflow file does not say what it should."""


class SceneError(InputError):
    """A scene cannot be opened, or has not what the model needs."""


class CatalogError(InputError):
    """A catalog cannot be read, or nothing in it matches."""


class AreaError(InputError):
    """An area of interest is empty, unreadable or does not touch the scene."""


class ModelError(InputError):
    """There is no such model, or its card disagrees with its weights or with the scene."""


class PlanError(InputError):
    """A request that cannot be cut into blocks."""


class BlockError(GeosegError):
    """A block failed while running."""


class ProductError(GeosegError):
    """A product could not be written."""


class LockedError(GeosegError):
    """Another run holds this output."""

    exit_code = 75
