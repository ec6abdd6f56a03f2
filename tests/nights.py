"""A simulated season of nightly runs: a growing catalog, nights off, killed runs, late scenes."""

import http.server
import json
import os
import random
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pystac
from packages import write_package

from geoseg.io.sample import SampleSpec, write_sample
from geoseg.run.reporter import Silent

FIRST = datetime(2024, 1, 1, 3, 30, tzinfo=UTC)
EVERY = 5
"""Days between acquisitions."""
SIDE = 96
FOREST = "Trees"

KILLED_RUN = """
import os, signal, sys
from datetime import datetime
from geoseg.api import run
from geoseg.run.reporter import Silent

class Killer(Silent):
    def __init__(self, stage, advances):
        self.wanted, self.left, self.at = stage, advances, None

    def stage(self, name, **told):
        self.at = name

    def advance(self, *, blocks, pixels):
        if self.at == self.wanted:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

stage, advances, now = sys.argv[1:]
# One after the other, so that stages of scenes are told of by name.
run("w.json", overrides=["run.scenes_at_once=1"], now=datetime.fromisoformat(now),
    reporter=Killer(stage, int(advances)))
"""

KILLS = (("segment", 1), ("trace", 1), ("products", 1), ("products", 3))
"""Where a run is killed: a stage, and how many times it said that it went on. The last is after
the scene's item, before the ledger knows of it."""


@dataclass(frozen=True)
class Season:
    """What happens in a season: ``late`` days of each scene, nights without a run, killed runs."""

    nights: int
    late: dict[int, int] = field(default_factory=dict)
    off: frozenset[int] = frozenset()
    killed: dict[int, tuple[str, int]] = field(default_factory=dict)

    @classmethod
    def calm(cls, nights: int) -> "Season":
        """Every scene comes at its day, every night ends well."""
        return cls(nights)

    @classmethod
    def troubled(cls, nights: int, *, seed: int, kills: int) -> "Season":
        """A tenth of the nights without a run, a quarter of the scenes late, some runs killed.

        The last nights are quiet, so that all can be made up for.
        """
        draw, quiet = random.Random(seed), nights - 10  # noqa: S311 (no secret)
        days = range(0, nights, EVERY)
        # Before the first scene there is nothing to begin with.
        late = {day: draw.randint(1, 9) for day in days[1:] if draw.random() < 0.25 and day < quiet}
        off = frozenset(n for n in range(1, quiet) if draw.random() < 0.1)
        # Nights in which there is work: a scene comes, and the machine is on.
        busy = [day + late.get(day, 0) for day in days]
        busy = sorted({n for n in busy if n not in off and 0 < n < quiet})
        chosen = draw.sample(busy, min(kills, len(busy)))
        killed = {night: KILLS[k % len(KILLS)] for k, night in enumerate(sorted(chosen))}
        return cls(nights, late, off, killed)


class Post(http.server.BaseHTTPRequestHandler):
    """Takes what a webhook is told; fails first as often as it is asked to."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fails = self.server.failing > 0
        self.server.failing -= fails
        if not fails:
            self.server.told.append((dict(self.headers), body))
            self.server.on_told()
        self.send_response(self.server.answer if fails else 204)
        self.end_headers()

    def log_message(self, *args):
        pass


@contextmanager
def webhook(failing=0, answer=500):
    """A real server on the loopback; ``told`` is what it got, ``address`` where it is."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Post)
    server.told, server.failing, server.answer = [], failing, answer
    server.on_told = lambda: None
    server.address = f"http://127.0.0.1:{server.server_address[1]}/services/T0PS3CRET"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def one_scheduler():
    """The address of a scheduler with one worker, that all runs of a season share."""
    from geoseg.run.cluster import ClusterSpec, connect

    with connect(ClusterSpec(workers=1, threads=3, dashboard=False)) as connected:
        yield connected.client.scheduler.address


def write_scenes(folder: Path) -> list[pystac.Item]:
    """Four small scenes that all acquisitions show one of."""
    items = []
    for seed in range(4):
        place = folder / f"s{seed}"
        write_sample(SampleSpec((SIDE, SIDE), seed=seed, clouds=False), place)
        item = pystac.Item.from_file(str(place / "item.json"))
        item.make_asset_hrefs_absolute()
        items.append(item)
    return items


def write_catalog(world: Path, shown: list[pystac.Item], season: Season, night: int) -> None:
    """All scenes that have come by ``night``, as an item collection."""
    came = []
    for day in range(0, season.nights, EVERY):
        if day + season.late.get(day, 0) <= night:
            item = shown[day // EVERY % len(shown)].clone()
            item.id = f"T31_{day:03}"
            item.datetime = FIRST + timedelta(days=day, hours=-17)
            item.clear_links()
            came.append(item)
    collection = pystac.ItemCollection(came)
    (world / "catalog.json").write_text(json.dumps(collection.to_dict()))


def write_workflow(world: Path, model: Path, scheduler: str, *, keep: str = "20 d") -> None:
    """The nightly workflow of a world; all its paths are relative to that."""
    data = {
        "geoseg": 1,
        "name": "nightly",
        "input": {
            "kind": "stac", "catalog": "catalog.json", "time": {"last": "14 d"},
            "bands": ["blue", "green", "red", "nir", "swir16", "swir22"],
        },
        "model": {"path": str(model)},
        "output": {
            "directory": "products/{name}/{date:%Y-%m-%d}", "quicklook": False, "project": False,
            "vector": {"formats": ["gpkg"]},
        },
        "cluster": {"address": scheduler},
        # The classes of an untrained network flicker: there is much to watch, and a plain rule.
        "alerts": {"store": "watch/forest.zarr", "forest": FOREST, "rule": {"k": 2, "n": 3},
                   "seen_forest": 0, "output": "watch/alerts"},
        "monitor": {"keep": keep, "max_age": "8 d"},
        "notify": {"events": ["products", "failure", "silence"], "webhook_env": "GEOSEG_TEST_HOOK"},
    }  # fmt: skip
    (world / "w.json").write_text(json.dumps(data))


def live(world: Path, season: Season, shown: list[pystac.Item]) -> list[datetime]:
    """Go through a season in ``world``; returns when runs were killed."""
    from geoseg.api import run
    from geoseg.api.cleaning import clean
    from geoseg.run.reporter import Silent

    killed = []
    for night in range(season.nights):
        if night in season.off:
            continue
        now = FIRST + timedelta(days=night)
        write_catalog(world, shown, season, night)
        if night in season.killed:
            stage, advances = season.killed[night]
            words = [sys.executable, "-c", KILLED_RUN, stage, str(advances), now.isoformat()]
            done = subprocess.run(words, cwd=world, capture_output=True, text=True, check=False)
            assert done.returncode == -9, done.stderr
            killed.append(now)
            continue
        before = Path.cwd()
        os.chdir(world)
        try:
            run("w.json", now=now)
            clean(Path("w.json"), Silent(), now=now)
        finally:
            os.chdir(before)
    return killed


def prepare(folder: Path, names: tuple[str, ...], scheduler: str) -> list[pystac.Item]:
    """Worlds side by side that see the same scenes by the same model."""
    model = write_package(folder / "models")
    shown = write_scenes(folder / "scenes")
    for name in names:
        (folder / name).mkdir()
        write_workflow(folder / name, model, scheduler)
    return shown


def products(world: Path) -> dict[str, bytes]:
    """All files of a world's products, without what tells how long it took."""
    root = world / "products"
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_dir() or ".geoseg" in path.parts or path.name == "report.html":
            continue
        data = path.read_bytes()
        if path.name == "run.json":
            record = json.loads(data)
            for timed in ("seconds", "remote", "machine", "memory"):
                record.pop(timed)
            data = json.dumps(record).encode()
        found[str(path.relative_to(root))] = data
    return found


def watched(world: Path) -> dict[str, bytes]:
    """All files of a world's alerts: the store, and what was written of it."""
    root = world / "watch"
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def works(world: Path) -> list[tuple]:
    """What a world's ledger says is done, without when it was done."""
    with ledger_of(world) as ledger:
        found = ledger.works("scene", "done", "failed", "removed")
    return [(w.name, w.state, dict(w.parts), w.date, w.place, dict(w.facts), w.text) for w in found]


def notices(world: Path, event: str) -> dict[str, str]:
    """What was to be told of an event, by key."""
    with ledger_of(world) as ledger:
        return {
            n.key: n.text
            for n in ledger.notices("waiting", "told", "unwanted", "undelivered")
            if n.event == event
        }


def ledger_of(world: Path):
    """The ledger of a world."""
    from geoseg.run.clock import Clock
    from geoseg.run.work_ledger import WorkLedger

    return WorkLedger(world / "products" / "nightly", "nightly", Clock.at())


class Listener(Silent):
    """Keeps what is told."""

    def __init__(self):
        self.lines = []

    def message(self, text):
        self.lines.append(text)

    def warning(self, text):
        self.lines.append(f"warning: {text}")


@contextmanager
def at(folder):
    """Stand in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
