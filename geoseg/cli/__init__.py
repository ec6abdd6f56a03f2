"""The command line: thin, fast to start, one clear line for whatever goes wrong."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import cast

from geoseg.cli.starting import leave_fast, start_fast
from geoseg.errors import GeosegError, StoppedError
from geoseg.redaction import masked


def main() -> None:
    """Run a command; expected failures become one message and their exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    start_fast()
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    code = run(arguments, debug=len(arguments) < len(sys.argv) - 1)
    leave_fast()
    sys.exit(code)


def run(arguments: list[str], *, debug: bool = False) -> int:
    """Run a command and return its exit code."""
    import typer  # noqa: PLC0415 (half of what --help takes)

    from geoseg.cli.commands import InterruptedCommand, app  # noqa: PLC0415 (after start_fast)

    # Some releases of typer bring their own click: its base class of errors is found by way of
    # one that typer always shows.
    click_error = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])
    try:
        # Outside of standalone mode typer returns the code of typer.Exit.
        return int(app(arguments, prog_name="geoseg", standalone_mode=False) or 0)
    except click_error as error:
        error.show()
        return error.exit_code
    except GeosegError as error:
        if debug:
            _say(traceback.format_exc())
        _say_error(str(error))
        return error.exit_code
    except (InterruptedCommand, typer.Abort) as error:
        return _stopped(error.__cause__, debug=debug)
    except BrokenPipeError:
        # Whoever read our output (head, less) has closed it: nothing to report, and nobody to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 (whatever it is: one line, and the rest on request)
        if debug:
            _say(traceback.format_exc())
        _say_error(_unexpected(error))
        return 1


def _unexpected(error: Exception) -> str:
    """What is said of an error that nobody thought of."""
    said = " ".join(str(error).split())
    return f"unexpected {type(error).__name__}: {said} (a fault of geoseg; --debug shows where)"


def _terminated(number: int, _frame: object) -> None:
    """SIGTERM unwinds like Ctrl-C does, so that clusters, locks and files are let go."""
    raise StoppedError("stopped by SIGTERM", exit_code=128 + number)


def _stopped(error: BaseException | None, *, debug: bool) -> int:
    if debug and error is not None:
        _say("".join(traceback.format_exception(error)))
    if isinstance(error, StoppedError):
        _say(str(error))
        return error.exit_code
    _say("interrupted")
    return 130


def _say_error(text: str) -> None:
    from geoseg.cli.manners import painted  # noqa: PLC0415 (what --help loads is loaded by now)

    _say(f"{painted('error:', '31', sys.stderr)} {text}")


def _say(text: str) -> None:
    print(masked(text), file=sys.stderr)  # noqa: T201 (this is the command line)
