"""Real STAC API servers on this machine, over catalogs that tests have written.

``filtering`` is stac-fastapi on a static catalog, with the filter extension (CQL2); ``plain`` is
rustac's server, which knows item search and nothing more. Neither needs a database.
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

_PROGRAM = Path(__file__).with_name("stac_server.py")


@contextmanager
def filtering(catalog: Path) -> Iterator[str]:
    """The address of a server for the static catalog at ``catalog``."""
    port = free_port()
    with _running([catalog.absolute().as_uri(), str(port)], port) as address:
        yield address


@contextmanager
def plain(items: Path) -> Iterator[str]:
    """The address of a server for the item collection at ``items``."""
    port = free_port()
    arguments = ["serve", "--create-collections", "--addr", f"127.0.0.1:{port}", str(items)]
    with _running(arguments, port) as address:
        yield address


def free_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(arguments: list[str], port: int) -> Iterator[str]:
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([sys.executable, str(_PROGRAM), *arguments])
    try:
        _wait_for(address, process)
        yield f"{address}/"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"the server at {address} ended with {process.returncode}")
        try:
            with urlopen(address, timeout=5):  # noqa: S310 (our own address)
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"no server answers at {address}")
