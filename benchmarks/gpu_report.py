"""The tables of ``gpu.py``, and what can be said without a GPU."""

from __future__ import annotations

import json
import platform
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from gpu_cases import CHIP, Row, Setup

from geoseg.grid import blocks, full_window
from geoseg.io.opening import open_pixels
from geoseg.models.registry import find
from geoseg.ops.tiling import Lattice
from geoseg.run.resources import available_cores
from geoseg.steps.segment import Tiling, load

HEADS = {
    "agreement": "The same map?",
    "kernels": "Kernels alone: chips that lie on the device, from stored numbers to classes",
    "calls": "A segmenter: from the host's memory and back",
    "reading": "Reading alone: blocks with their halo, from a COG in the page cache",
    "runs": "Runs: blocks read from a COG, mapped, written to stores",
    "heavy": "Heavier networks (random weights, chips of 1024 px), zstd: alone, and in a run",
    "cogs": "Class and confidence COGs with overviews, from stores",
}


class Report:
    """Rows as they come."""

    def __init__(self, setup: Setup, *, scenes_made: float) -> None:
        self._setup = setup
        self._machine = _machine(setup) | {"scenes made in s": round(scenes_made, 1)}
        self.rows: dict[str, list[Row]] = {}
        self.failed: list[str] = []
        self._left: dict[str, int] = {}
        self.extra = ""

    def add(self, table: str, case: Callable[[], Row]) -> None:
        """One more; a case that fails is a line, and the others go on."""
        start = time.perf_counter()
        try:
            row = case()
        except Exception as error:  # noqa: BLE001 - one case of many
            traceback.print_exc()
            self.failed.append(f"{table}: {type(error).__name__}: {error}")
            return
        finally:
            if self._setup.cuda:
                torch.cuda.empty_cache()
        self.rows.setdefault(table, []).append(row)
        print(f"{table} ({time.perf_counter() - start:.1f} s): {row}", flush=True)

    def left_out(self, table: str) -> None:
        """One that there was no time for."""
        self._left[table] = self._left.get(table, 0) + 1

    def write(self, out: Path) -> str:
        """Both files; the Markdown."""
        out.mkdir(parents=True, exist_ok=True)
        said = {**self._machine, "rows": self.rows, "failed": self.failed, "left out": self._left}
        (out / "gpu.json").write_text(json.dumps(said, indent=1) + "\n")
        lines = [", ".join(f"{key} {value}" for key, value in self._machine.items()) + "."]
        for table, head in HEADS.items():
            if table in self.rows:
                lines += ["", f"**{head}**", "", *_markdown(self.rows[table])]
        lines += [f"\nFailed: {what}" for what in self.failed]
        lines += [f"\nLeft out for want of time: {self._left}"] if self._left else []
        text = "\n".join([*lines, self.extra]).rstrip() + "\n"
        (out / "gpu.md").write_text(text)
        return text


def _machine(setup: Setup) -> dict[str, Any]:
    side = next(iter(setup.scenes.values())).grid.shape[0]
    found = {
        "device": torch.cuda.get_device_name() if setup.cuda else "CPU",
        "cores": available_cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "model": setup.model,
        "scene": f"{side} x {side} px",
    }
    for codec in setup.scenes:
        found[f"{codec} MB"] = round((setup.folder / f"{codec}.tif").stat().st_size / 1e6)
    return found


def _markdown(rows: list[Row]) -> list[str]:
    keys = list(rows[0])
    cells = [["-" if row[key] is None else str(row[key]) for key in keys] for row in rows]
    table = [keys, ["---"] * len(keys), *cells]
    return [f"| {' | '.join(line)} |" for line in table]


def read_alone(setup: Setup, codec: str, threads: int) -> Row:
    """What the blocks of a run cost before the model sees them."""
    scene, card = setup.scenes[codec], find(setup.model).card
    lattice = Lattice(setup.chip(CHIP), card.margin, card.stride)
    whole = full_window(scene.grid).shape
    some = list(islice(cycle(blocks(whole, 2 * lattice.stride)), 6 * threads))
    with closing(open_pixels(scene)) as pixels, ThreadPoolExecutor(threads) as pool:
        start, cpu = time.perf_counter(), time.process_time()
        for _ in pool.map(lambda block: load(block, pixels, card.bands, Tiling(lattice)), some):
            pass
        seconds, used = time.perf_counter() - start, time.process_time() - cpu
    area = sum(block.shape[0] * block.shape[1] for block in some) / 1e6
    return {
        "codec": codec,
        "bands": len(card.bands),
        "threads": threads,
        "Mpx/s": round(area / seconds, 1),
        "MB/s of uint16": round(area / seconds * 2 * len(card.bands)),
        "CPU s a Mpx": round(used / area, 4),
    }


def paper(rows: dict[str, list[Row]], gpu: float) -> str:
    """Cores that keep a GPU busy, from what a megapixel costs on this machine's cores."""
    lines = [
        "",
        f"**For a GPU of {gpu:g} Mpx/s** (cores like these; products are written afterwards)",
        "",
        "| codec | reading, CPU s/Mpx | all but the network | COGs | cores to read | cores in all |",
        "|---|---|---|---|---|---|",
    ]
    cost = rows["cogs"][0]["CPU s a Mpx"]
    by_codec = {row["codec"]: row["CPU s a Mpx"] for row in rows["runs"]}
    for row in rows["reading"]:
        read, rest = row["CPU s a Mpx"], by_codec[row["codec"]]
        lines.append(
            f"| {row['codec']} | {read:.4f} | {rest:.4f} | {cost:.4f} | {gpu * read:.1f} | "
            f"{gpu * (rest + cost):.1f} |"
        )
    return "\n".join(lines)
