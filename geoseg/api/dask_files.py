"""Dask's record of a run and the page of it, as files of the folder above all that it made."""

from __future__ import annotations

from pathlib import Path

from geoseg.api.holding import STATE
from geoseg.errors import InputError
from geoseg.io.atomic import remove_file, write_bytes

LOG = "log"
"""Folder of events inside a state folder; nothing that a run needs to go on is in it."""

RECORD = "performance.json.gz"
PAGE = "performance.html"
"""Of the run whose record lies beside it."""


def keep_record(log: Path, record: bytes) -> None:
    """Keep what was noted of a run; the page of an earlier one goes.

    Raises:
        ProductError: The folder cannot be written to.
    """
    write_bytes(log / RECORD, record)
    remove_file(log / PAGE)


def draw_page(folder: Path) -> Path:
    """Draw the page of the last run that wrote to ``folder``, from what was noted of it then.

    Returns:
        The page.

    Raises:
        InputError: Nothing was noted, it is damaged, or cannot be drawn here; nothing is written.
        ProductError: The page cannot be written.
    """
    log = folder / STATE / LOG
    try:
        record = (log / RECORD).read_bytes()
    except OSError as error:
        raise InputError(
            f"{log / RECORD}: {error.strerror}; runs of workflows keep it in the folder above all of "
            f"their scenes, but for those with run.performance_report: false; what is done on "
            f"threads, without Dask, has none"
        ) from error
    return draw_record(log, record)


def draw_record(log: Path, record: bytes) -> Path:
    """Draw the page of ``record``, which lies in the folder ``log``; raises as :func:`draw_page`."""
    from geoseg.run.dask_page import page_of  # noqa: PLC0415 (Dask, which no other report needs)

    write_bytes(log / PAGE, page_of(record, named=str(log / RECORD)))
    return log / PAGE
