"""A store that speaks S3 for tests, as a process of its own: moto's, with a log and with faults.

``python s3_server.py LOG FAULTS`` prints its port. Each request is a line ``METHOD /path?query
STATUS`` in LOG. FAULTS is a JSON file, read for each request: ``{"status": 503, "methods": ["PUT"],
"match": "work-", "times": 3}`` answers the next three such requests so; a status of 0 does not
answer at all. Conditional writes are done one after the other, as moto looks and writes in two
steps.
"""

import json
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

BUCKET = "maps"
KEYS = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hunter2xyzhunter2xyz"}


class Store:
    """moto's application, watched and disturbed."""

    def __init__(self, app, log, faults):
        self.app, self.log, self.faults = app, Path(log), Path(faults)
        self.lock, self.noting = threading.Lock(), threading.Lock()

    def __call__(self, environ, start):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        query = environ.get("QUERY_STRING", "")
        named = f"{path}?{query}" if query else path
        status = self._fault(method, named)
        if status is not None:
            self._note(method, named, status)
            if status == 0:
                time.sleep(3)
                raise ConnectionError("no answer")
            body = (
                b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
            )
            start(f"{status} Slow Down", [("Content-Type", "application/xml")])
            return [body]

        def begun(line, headers, *more):
            self._note(method, named, line.split()[0])
            return start(line, headers, *more)

        if "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MATCH" in environ:
            with self.lock:
                return self.app(environ, begun)
        return self.app(environ, begun)

    def _note(self, method, named, status):
        with self.noting, self.log.open("a") as file:
            file.write(f"{method} {named} {status}\n")

    def _fault(self, method, named):
        with self.noting:
            if not self.faults.exists():
                return None
            wanted = json.loads(self.faults.read_text() or "{}")
            if wanted.get("times", 0) < 1 or not re.search(wanted.get("match", ""), named):
                return None
            if method not in wanted.get("methods", [method]):
                return None
            wanted["times"] -= 1
            self.faults.write_text(json.dumps(wanted))
            return wanted["status"]


def main(log, faults):
    """Serve until killed."""
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Store(DomainDispatcherApplication(create_backend_app), log, faults)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(server.server_port, flush=True)  # noqa: T201 (whoever started it reads it)
    server.serve_forever()


@dataclass
class Running:
    """A store that runs."""

    process: subprocess.Popen
    url: str
    log: Path
    faults: Path

    @property
    def env(self):
        """What a run needs to find it."""
        return {
            **KEYS,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self):
        """As Amazon's own tools see it."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="me",
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )

    def requests(self):
        """All so far: method, path, status."""
        return [tuple(line.split(" ")) for line in self.log.read_text().splitlines()]

    def keys(self, prefix=""):
        """What is stored, with sizes."""
        pages = (
            self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        )
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", ())}

    def fetch(self, prefix, folder):
        """Download what lies below, as ``aws s3 sync`` would."""
        for key in self.keys(f"{prefix}/"):
            path = folder / key.removeprefix(f"{prefix}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.client().download_file(BUCKET, key, str(path))

    def end(self):
        """End it."""
        self.process.terminate()
        self.process.communicate()

    def disturb(self, **fault):
        """See above; nothing: no more."""
        self.faults.write_text(json.dumps(fault))


def start(folder):
    """Start one, with an empty bucket."""
    log, faults = folder / "requests.log", folder / "faults.json"
    log.touch()
    process = subprocess.Popen(
        [sys.executable, __file__, str(log), str(faults)],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    port = int(process.stdout.readline())
    running = Running(process, f"http://127.0.0.1:{port}", log, faults)
    running.client().create_bucket(Bucket=BUCKET)
    return running


if __name__ == "__main__":
    main(*sys.argv[1:])
