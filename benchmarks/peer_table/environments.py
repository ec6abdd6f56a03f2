"""An environment for each peer, made where it is missing."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from peer_table.measure import CommandError
from peer_table.rows import Row

DONE = "installed.txt"


def python_of(row: Row, envs: Path | None, *, share: bool) -> Path:
    """The Python that runs a row: this one, or that of the peer's own environment.

    Args:
        row: Which.
        envs: Folder of environments.
        share: Whether a new environment also sees the packages of this Python, behind its own.

    Raises:
        CommandError: It does not install; the text is pip's reason.
    """
    if not row.packages:
        return Path(sys.executable)
    if envs is None:
        raise CommandError("needs an environment of its own: say --envs DIR")
    home = envs.resolve() / row.name
    python, done = home / "bin" / "python", home / DONE
    wanted = "\n".join(row.packages)
    if done.exists() and done.read_text("utf-8") == wanted:
        return python
    _ask([sys.executable, "-m", "venv", str(home)])
    if share:
        place = home / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        (place / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    _ask([str(python), "-m", "pip", "install", "--quiet", *row.packages])
    done.write_text(wanted)
    return python


def _ask(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise CommandError(f"does not install: {(lines or [done.stderr[-300:]])[0]}")
