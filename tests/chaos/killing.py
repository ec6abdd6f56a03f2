"""Starts commands, kills them at chosen moments, and starts them again."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from watching import Watch

ROOT = Path(__file__).parents[2]
SURVIVED = ("worker", "scheduler")
"""Victims without which the client goes on, or ends by itself."""

NOT_COMPARED = {"run.json", "report.html"}
"""They tell the seconds of each stage; everything else must be the same to the last bit."""

STAGES = (
    "segment", "refine", "minimum-unit-survey", "minimum-unit-rewrite", "trace", "products",
)  # fmt: skip
PRODUCTS = (
    "classes.tif", "classes.tif.aux.xml", "classes.qml", "confidence.tif", "probabilities.tif",
    "polygons.gpkg", "polygons.parquet", "polygons.fgb", "polygons.pmtiles", "project.qgz",
    "quicklook.png", "run.json", "item.json",
)  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """When to kill: ``after`` blocks of a stage, or while a product is being made; and whom."""

    stage: str = ""
    after: int = 0
    product: str = ""
    victim: str = "client"
    wait: float = 0.0

    def __str__(self) -> str:
        where = self.product or f"{self.stage} {self.after}"
        return f"{self.victim} at {where}"


def moments(count: int, seed: int, victims=("client", "group", "worker")) -> list[Moment]:
    """``count`` moments, spread over all stages and products in the order of a run."""
    chance = random.Random(seed)  # noqa: S311 (no secret)
    places = [{"stage": s} for s in STAGES[:-1]] * 2 + [{"product": p} for p in PRODUCTS]
    # Rounds over all places, so that few moments already differ.
    chosen: list[dict] = []
    while len(chosen) < count:
        chosen += chance.sample(places, len(places))
    found = []
    for place in chosen[:count]:
        victim = chance.choice(victims) if "stage" in place else chance.choice(("client", "group"))
        after = chance.choice((0, 1, 2, 5, 8))
        wait = chance.random() * (0.3 if "stage" in place else 0.02)
        found.append(Moment(**place, after=after, victim=victim, wait=wait))
    return found


@dataclass
class Told:
    """What a run said of itself: blocks that were done before, and those done now, by stage."""

    before: dict[str, int] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def take(self, event: dict) -> None:
        if event["event"] == "stage":
            self.before[event["stage"]] = self.done[event["stage"]] = event["done_blocks"]
        elif event["event"] == "advance":
            self.done[event["stage"]] = event["done_blocks"]
        elif event["event"] in ("message", "warning"):
            self.messages.append(event["text"])


class Session:
    """One command in a process group of its own, whose progress is listened to.

    ``through`` are words that start what follows them elsewhere, as on another host.
    """

    def __init__(self, *command, cwd: Path, env: dict | None = None, through=()) -> None:
        self.told, self.other = Told(), []
        self.process = subprocess.Popen(
            [*through, sys.executable, "-m", "geoseg", *map(str, command), "--log-json"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **(env or {})},
        )
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def __repr__(self) -> str:
        return f"{self.process.args}: {self.process.poll()}\n{self.told}\n{''.join(self.other)}"

    def wait_for(self, moment: Moment) -> bool:
        """Until a stage has got so far; False where the run ended before."""
        while True:
            with self._news:
                done = self.told.done.get(moment.stage)
                before = self.told.before.get(moment.stage, 0)
                if done is not None and done - before >= moment.after:
                    return True
                later = STAGES[STAGES.index(moment.stage) + 1 :]
                if any(s in self.told.done for s in later):
                    return True  # fewer blocks were left than that
                self._news.wait(0.02)
            if self.ended:
                return False

    def workers(self) -> list[psutil.Process]:
        """Processes that run blocks."""
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
            return [p for p in family if _runs_blocks(p)]
        return []

    def kill(self, victim: str) -> None:
        """``kill -9``; what was killed is gone afterwards."""
        if victim == "worker":
            for worker in self.workers()[:1]:
                with suppress(psutil.NoSuchProcess):
                    worker.kill()
            return
        if victim == "group":
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.end()

    def end(self, seconds: float = 400) -> int:
        """Its exit code, once it has ended and all is heard."""
        code = self.process.wait(timeout=seconds)
        if code == 0:
            self._thread.join(timeout=30)
        return code

    def _listen(self) -> None:
        for line in self.process.stderr:
            with self._news:
                try:
                    self.told.take(json.loads(line))
                except ValueError:
                    self.other.append(line)
                self._news.notify_all()
        self.process.stderr.close()


def _runs_blocks(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return "spawn_main" in " ".join(process.cmdline())
    return False


def ledgers(out: Path) -> dict[str, int]:
    """Blocks that each stage's ledger has, by lines that prove themselves."""
    found = {}
    for path in (out / ".geoseg").glob("*.jsonl"):
        blocks = {}
        for line in path.read_bytes().splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if "block" in entry:
                    blocks[tuple(entry["block"])] = entry["report"]
        found[path.stem] = sum(report is not None for report in blocks.values())
    return found


def hashes(out: Path) -> dict[str, str]:
    """SHA-256 of every product, those in folders below included."""
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in NOT_COMPARED and ".geoseg" not in path.parts
    }


def strays(out: Path) -> list[str]:
    """What lies about that is no product, no ledger of runs, no status and no log."""
    kept = {"ledger.sqlite", "status.json", "log"}
    found = [p for p in out.rglob(".*") if p.name != ".geoseg"]
    found += [p for p in (out / ".geoseg").glob("*") if p.name not in kept]
    return sorted(str(p.relative_to(out)) for p in found)


@dataclass
class Tally:
    """What came of a chain of kills."""

    kills: list[str] = field(default_factory=list)
    missed: int = 0
    sessions: int = 0
    again: int = 0
    opened: int = 0
    items: int = 0


def killed_and_resumed(
    command: list, out: Path, plan: list[Moment], tally: Tally, *, cwd: Path, site=None
) -> None:
    """One output, whose run is killed at each of ``plan`` and started again, until it ends.

    Raises:
        AssertionError: A finished block ran again, or something half-made bore a final name.
    """
    out.mkdir(parents=True, exist_ok=True)
    left = list(plan)
    with Watch(out) as watch:
        while True:
            if site is not None:
                site.start()
            before = ledgers(out)
            mark = watch.mark()
            session = Session(*command, cwd=cwd)
            tally.sessions += 1
            try:
                moment = left.pop(0) if left else None
                reached = moment is not None and _reached(session, watch, moment, mark)
                if moment is not None and reached:
                    time.sleep(moment.wait)
                    (session if site is None else site).kill(moment.victim)
                    tally.kills.append(str(moment))
                    print(len(tally.kills), moment, flush=True)  # noqa: T201 (shown with -s)
                else:
                    tally.missed += moment is not None
                if not reached or (moment is not None and moment.victim in SURVIVED):
                    lost = reached and moment is not None and moment.victim == "scheduler"
                    assert session.end() in ({0, 1} if lost else {0}), session
            finally:
                session.kill("group")
            _check_resumed(session, before, tally)
            if (out / "item.json").exists() and session.end() == 0:
                if not left:
                    break
                _take_back(out, whole=len(left) % 2 == 0)
    tally.opened += watch.opened
    tally.items += watch.items
    assert not watch.broken, watch.broken


def _reached(session: Session, watch: Watch, moment: Moment, mark: int) -> bool:
    if moment.product:
        return watch.wait_for(f".{moment.product}.", lambda: session.ended, mark)
    return session.wait_for(moment)


def _check_resumed(session: Session, before: dict[str, int], tally: Tally) -> None:
    """What the ledgers had is not done again."""
    for stage, done in session.told.before.items():
        name = stage.replace(" ", "-")
        if name in before:
            assert done == before[name], (stage, done, before)
            tally.again += done


def _take_back(out: Path, *, whole: bool) -> None:
    """Products as if the run had not been, or as if only its last word lacked: replaced then."""
    for path in out.iterdir():
        if path.is_file() and (whole or path.name == "item.json"):
            path.unlink()
