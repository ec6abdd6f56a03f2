"""Feeds damaged files to all that reads some: python tests/fuzz/run.py --seconds 600.

Each target is tried in a process of its own, with bounds on memory and on the time of one file, as
GDAL may crash or hang. Inputs that end in anything but a result or an error of ours are kept.
Source of the mutations: AFL's havoc stage (bit flips, interesting numbers, blocks moved about).
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from targets import TARGETS, Target

MEMORY = 6 * 2**30
PATIENCE = 20
"""Seconds that one input may take."""
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_WORDS = (
    b"null", b"-1", b"1e999", b".nan", b"{}", b"[]", b'""', b"*a", b"&a ", b"!!", b"<", b"\0", b"..",
    b"9" * 40, b"[" * 50, b"\xff\xfe", b"/dev/zero", b"http://127.0.0.1:1/", b"\n", b": ",
)  # fmt: skip


def mutated(seed: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A file that was once ``seed``."""
    data = bytearray(seed)
    for _ in range(2 ** rng.randrange(5)):
        if not data:
            break
        at = rng.randrange(len(data))
        kind = rng.randrange(7)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(_NUMBERS) % 2 ** (8 * width)
            data[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 2:
            del data[at : at + rng.randrange(1, 64)]
        elif kind == 3:
            data[at:at] = data[at : at + rng.randrange(1, 64)]
        elif kind == 4:
            data[at:at] = rng.choice(_WORDS)
        elif kind == 5:
            other = rng.choice(others)
            start = rng.randrange(len(other))
            data[at : at + 40] = other[start : start + 40]
        elif rng.randrange(8) == 0:
            del data[at:]
    return bytes(data)


def _late(*_args: object) -> None:
    raise TimeoutError(f"took longer than {PATIENCE} s")


def child(target: Target, folder: Path, seed: int, seconds: float, most: int) -> None:
    """Try inputs until the time or their number is up; notes what came of it."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, _late)
    warnings.simplefilter("ignore")
    rng = random.Random(seed)  # noqa: S311 (no secret is made of it)
    room = folder / "room"
    room.mkdir(exist_ok=True)
    seeds = target.seeds(room)
    place = folder / "in"
    place.mkdir(exist_ok=True)
    found = {"executions": 0, "read": 0, "refused": 0, "wrong": 0}
    end = time.monotonic() + seconds
    while time.monotonic() < end and found["executions"] < most:
        data = mutated(rng.choice(seeds), seeds, rng)
        path = place / target.file
        path.write_bytes(data)
        found["executions"] += 1
        signal.alarm(PATIENCE)
        try:
            target.read(path)
            found["read"] += 1
        except target.refusals:
            found["refused"] += 1
        except BaseException:  # noqa: BLE001 (whatever it is, it is what is looked for)
            found["wrong"] += 1
            name = f"wrong-{target.name}-{seed}-{found['executions']}"
            (folder / name).write_bytes(data)
            (folder / f"{name}.txt").write_text(traceback.format_exc())
        finally:
            signal.alarm(0)
        (folder / "count").write_text(json.dumps(found))


def tried(target: Target, folder: Path, *, seed: int, seconds: float, most: int) -> dict[str, int]:
    """Totals of one target; a process that dies is counted, its input kept, and another goes on."""
    total = {"executions": 0, "read": 0, "refused": 0, "wrong": 0, "died": 0}
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and total["executions"] < most:
        (folder / "count").unlink(missing_ok=True)
        asked = {"seed": seed, "seconds": left, "most": most - total["executions"]}
        words = [f"--{key}={value}" for key, value in asked.items()]
        done = subprocess.run(
            [sys.executable, __file__, "--child", target.name, "--folder", str(folder), *words],
            capture_output=True, text=True, check=False, timeout=seconds + 10 * PATIENCE,
        )  # fmt: skip
        counted = folder / "count"
        if counted.exists():
            for key, value in json.loads(counted.read_text()).items():
                total[key] += value
        if done.returncode:
            total["died"] += 1
            total["executions"] += 1
            current = folder / "in" / target.file
            name = f"died-{target.name}-{seed}-{done.returncode}"
            if current.exists():
                shutil.copy(current, folder / name)
            (folder / f"{name}.txt").write_text(done.stderr[-5000:])
            if not counted.exists():
                break  # it does not even begin
        seed += 1
    return total


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 (a command)


def main(arguments: list[str] | None = None) -> int:
    """Try all targets, or one; gives 1 where anything but a result or a refusal came of an input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for all targets together")
    parser.add_argument("--most", type=int, default=10**9, help="inputs of each target")
    parser.add_argument("--target", choices=TARGETS, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where inputs are kept that went wrong")
    parser.add_argument("--child", choices=TARGETS, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.child:
        child(TARGETS[asked.child], asked.folder, asked.seed, asked.seconds, asked.most)
        return 0
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="geoseg-fuzz-"))
    chosen = asked.target or list(TARGETS)
    wrong = 0
    for name in chosen:
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        seconds = asked.seconds / len(chosen)
        total = tried(TARGETS[name], place, seed=asked.seed, seconds=seconds, most=asked.most)
        _say(f"{name}: " + ", ".join(f"{value} {key}" for key, value in total.items()))
        wrong += total["wrong"] + total["died"]
    _say(f"inputs that went wrong: {wrong}" + (f"; see {folder}" if wrong else ""))
    if not wrong and asked.folder is None:
        shutil.rmtree(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
