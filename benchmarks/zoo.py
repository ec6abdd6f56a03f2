"""Every network of the zoo: parameters, FLOPs, reach, and speed by engine on this machine.

    python benchmarks/zoo.py [--markdown FILE] [--json FILE] [--size 256] [--seconds 1] [NAME ...]
    python benchmarks/zoo.py --quick         # speed only, chips of 128 px, 0.3 s a cell: minutes
    python benchmarks/zoo.py --no-timing     # what does not depend on the machine: minutes

Random weights, six bands, six classes, one thread; the best of several passes over one chip, in
million pixels a second. Each engine is measured in the same process, so that their ratios mean
more than the numbers. ONNX Runtime and OpenVINO are measured where they are installed. What a
network or an engine cannot do is said below the table, and the others go on. Parameters, FLOPs and
memory are always measured on chips of 256 px.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from geoseg.errors import ModelError
from geoseg.models.architectures import build
from geoseg.models.exporting import Wish, write_export
from geoseg.models.measuring import named_card
from geoseg.models.onnx_file import open_session
from geoseg.models.reach import costs, structural_reach
from geoseg.models.registry import ModelPackage
from geoseg.models.weights_file import save_package
from geoseg.models.zoo import ARCHITECTURES

BANDS, CLASSES = 6, 6
ENGINES = ("eager", "channels_last", "bf16", "onnxruntime", "openvino")
MORE = {
    "unet, 3 levels": {
        "name": "unet",
        "encoder": "mobilenet_v2",
        "encoder_depth": 3,
        "decoder_channels": [64, 32, 16],
    },
    "unet mobileone_s0": {"name": "unet", "encoder": "mobileone_s0"},
}


def best(run: Callable[[], Any], pixels: int, seconds: float) -> float:
    """Million pixels a second of the fastest pass, after one to warm up."""
    run()
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or fastest == float("inf"):
        start = time.perf_counter()
        run()
        fastest = min(fastest, time.perf_counter() - start)
    return pixels / fastest / 1e6


def speeds(card: Any, size: int, seconds: float, faults: list[str]) -> dict[str, float | None]:
    """By engine; None where it cannot, with a line in ``faults`` that says why."""
    chip = torch.randn(1, BANDS, size, size, generator=torch.Generator().manual_seed(0))
    found: dict[str, float | None] = dict.fromkeys(ENGINES)
    network = build(card)
    last = chip.contiguous(memory_format=torch.channels_last)

    def in_bf16() -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return network(last)

    def measure(engine: str, run: Callable[[], Any]) -> None:
        try:
            found[engine] = best(run, size**2, seconds)
        except Exception as error:  # noqa: BLE001 (engines fail in every way, others go on)
            faults.append(f"{engine}: {first_line(error)}")

    with torch.inference_mode():
        measure("eager", lambda: network(chip))
        network = network.to(memory_format=torch.channels_last)
        measure("channels_last", lambda: network(last))
        measure("bf16", in_bf16)
    with tempfile.TemporaryDirectory() as room:
        file = Path(room, "model.onnx")
        try:
            folder = Path(room, "package")
            package = ModelPackage(save_package(build(card), card, folder), folder)
            write_export(package, file, Wish("onnx"))
            for engine, opened in (("onnxruntime", onnxruntime), ("openvino", openvino)):
                run = opened(file, chip.numpy())
                if run is not None:
                    measure(engine, run)
        except Exception as error:  # noqa: BLE001 (the same)
            faults.append(first_line(error))
    return found


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def onnxruntime(file: Path, chip: np.ndarray[Any, Any]) -> Callable[[], Any]:
    session = open_session(file, file.read_bytes(), threads=1)
    pixels = {session.get_inputs()[0].name: np.ascontiguousarray(chip)}
    return lambda: session.run(None, pixels)


def openvino(file: Path, chip: np.ndarray[Any, Any]) -> Callable[[], Any] | None:
    try:
        import openvino as ov  # noqa: PLC0415 (may be missing)
    except ImportError:
        return None
    model = ov.Core().compile_model(str(file), "CPU", {"INFERENCE_NUM_THREADS": 1})
    return lambda: model(chip)


def row(
    label: str,
    named: dict[str, Any],
    size: int,
    seconds: float,
    faults: list[str],
    *,
    still: bool,
) -> dict[str, Any]:
    """One line of the table; no speeds for 0 seconds, and nothing else unless ``still``."""
    card = named_card(named, bands=BANDS, classes=CLASSES)
    if "encoder_depth" in named:
        card = replace(card, stride=2 ** int(named["encoder_depth"]))
    made = {"name": label, "architecture": dict(card.architecture), "stride": card.stride}
    if still:
        network = build(card)
        found = costs(network, bands=BANDS)
        made |= {
            "parameters": found.parameters,
            "flops_per_pixel": found.flops_per_pixel,
            "activation_bytes": found.activation_bytes,
            "reach": structural_reach(network, bands=BANDS, stride=card.stride),
        }
    return made | {"mpx_per_second": speeds(card, size, seconds, faults) if seconds else {}}


def markdown(rows: list[dict[str, Any]]) -> str:
    engines = ENGINES if any(r["mpx_per_second"] for r in rows) else ()
    still = any("reach" in r for r in rows)
    titles = ["network", "encoder"]
    titles += ["parameters", "FLOPs/px", "bytes/px", "stride", "reach"] if still else []
    lines = [
        "| " + " | ".join([*titles, *engines]) + " |",
        "| --- | --- |" + " ---: |" * (len(titles) - 2 + len(engines)),
    ]
    for r in rows:
        speed = [r["mpx_per_second"].get(e) for e in engines]
        cells = [r["name"], r["architecture"].get("encoder", "none")]
        if still:
            cells += [
                f"{r['parameters'] / 1e6:.2f} M",
                f"{r['flops_per_pixel']:,}",
                f"{r['activation_bytes']:,}",
                f"{r['stride']}",
                "∞" if r["reach"] is None else f"{r['reach']} px",
            ]
        cells += ["-" if v is None else f"{v:.2f}" for v in speed]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="all without any")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--quick", action="store_true", help="speed only, --size 128 --seconds 0.3")
    parser.add_argument("--no-timing", action="store_true")
    asked = parser.parse_args()
    size, seconds = (128, 0.3) if asked.quick else (asked.size, asked.seconds)
    seconds = 0.0 if asked.no_timing else seconds
    torch.set_num_threads(1)
    known = {n: {"name": n} for n in ARCHITECTURES if n != "transformers"} | MORE
    for label in asked.names:
        if label not in known:
            parser.error(f"no network {label!r}; there are {', '.join(known)}")
    rows: list[dict[str, Any]] = []
    cannot: list[str] = []
    for label in asked.names or known:
        faults: list[str] = []
        try:
            rows.append(row(label, known[label], size, seconds, faults, still=not asked.quick))
            print(
                "\n".join(markdown(rows[-1:]).splitlines()[0 if len(rows) == 1 else -1 :]),
                flush=True,
            )
        except (ModelError, RuntimeError, ImportError) as error:
            faults.append(first_line(error))
        cannot += [f"{label}: {fault}" for fault in faults]
        machine = f"{platform.machine()}, torch {torch.__version__}"
        if asked.json:
            content = {"machine": machine, "size": size, "rows": rows, "cannot": cannot}
            asked.json.write_text(json.dumps(content, indent=2) + "\n")
        if asked.markdown:
            asked.markdown.write_text(markdown(rows))
    for line in cannot:
        print(f"- {line}")


if __name__ == "__main__":
    main()
