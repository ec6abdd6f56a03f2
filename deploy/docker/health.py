# ruff: noqa: INP001 (a script that images copy, in no package)
"""Whether the scheduler or worker of this container answers; all is well where neither runs.

GEOSEG_HEALTH says where: http://127.0.0.1:8787/health of a scheduler, port 8790 of a worker.
"""

import os
import sys
from urllib.request import ProxyHandler, build_opener

PATIENCE_SECONDS = 9.0


def main() -> int:
    """0: it answers, or there is nothing to ask; 1: it does not."""
    address = os.environ.get("GEOSEG_HEALTH")
    if not address:
        return 0
    try:
        # Never by a proxy: it is this very container that is asked.
        with build_opener(ProxyHandler({})).open(address, timeout=PATIENCE_SECONDS) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        sys.stderr.write(f"{address}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
