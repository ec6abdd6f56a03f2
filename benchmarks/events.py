"""What events cost for each block: the client's CPU, bytes of a line, bytes of an answer.

python benchmarks/events.py
"""

from __future__ import annotations

import pickle
import tempfile
import time
from pathlib import Path

from geoseg.grid import Window
from geoseg.run.base import Done, Ran
from geoseg.run.event_log import EventLog
from geoseg.run.events import RunEvents, SceneEvents, Sink
from geoseg.run.opened import Answer
from geoseg.run.run_metrics import RunMetrics

BLOCKS = 20_000
REPORT = {
    "pixels": 1048576, "valid": 1000000, "chips": 4, "skipped": 0, "thin": 0, "dropped": 0,
    "confidence": 5e7, "counts": {1: 10, 2: 30}, "areas": {1: 1.0, 2: 3.0}, "seams": [1, 2, 3, 4],
    "crc": {"classes": 1, "confidence": 2}, "remote": {"requests": 12, "bytes": 1234567},
    "memory": 699822080,
    "seconds": {"read": 0.4034, "wait": 0.1182, "infer": 1.6671, "infer_cpu": 1.6262, "write": 0.0471},
}  # fmt: skip


def outcomes() -> list[Done]:
    ran = Ran("tcp://10.0.12.7:40111", 1.7e9, 2.235)
    windows = (Window(1024 * k, 0, 1024 * k + 1024, 1024) for k in range(BLOCKS))
    return [Done(window, REPORT, ran) for window in windows]


def seconds(done: list[Done], sinks: list[Sink]) -> float:
    scene = SceneEvents(RunEvents(sinks), "S2B_MSIL2A_20240615T101559_T33TWM")
    start = time.process_time()
    for one in done:
        scene.block_ended("segment", one)
    return time.process_time() - start


def main() -> None:
    done = outcomes()
    without = Answer(Done(done[0].block, REPORT))
    print(f"answer: {len(pickle.dumps(without))} bytes before, "
          f"{len(pickle.dumps(Answer(done[0])))} now")  # fmt: skip
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            log = EventLog(folder)
            metrics = RunMetrics("benchmark", scenes=1, memory_planned=1)
            both = seconds(done, [log, metrics])
            log.close()
            size = sum(path.stat().st_size for path in Path(folder).iterdir())
        print(f"client: {both / BLOCKS * 1e6:.1f} us a block; line: {size / BLOCKS:.0f} bytes")


if __name__ == "__main__":
    main()
