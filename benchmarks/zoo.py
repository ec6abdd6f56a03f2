"""Every network of the zoo: parameters, FLOPs, reach, and speed by engine on this machine.

    python benchmarks/zoo.py [--markdown FILE] [--json FILE] [--size 256] [--seconds 1] [NAME ...]

Random weights, six bands, six classes, one thread; the best of several passes over one chip, in
million pixels a second. Each engine is measured in the same process, so that their ratios mean
more than the numbers. OpenVINO is measured where it is installed.
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


def speeds(card: Any, size: int, seconds: float) -> dict[str, float | None]:
    chip = torch.randn(1, BANDS, size, size, generator=torch.Generator().manual_seed(0))
    found: dict[str, float | None] = dict.fromkeys(ENGINES)
    network = build(card)
    with torch.inference_mode():
        found["eager"] = best(lambda: network(chip), size**2, seconds)
        network = network.to(memory_format=torch.channels_last)
        last = chip.contiguous(memory_format=torch.channels_last)
        found["channels_last"] = best(lambda: network(last), size**2, seconds)
        with torch.autocast("cpu", torch.bfloat16):
            found["bf16"] = best(lambda: network(last), size**2, seconds)
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room, "package")
        package = ModelPackage(save_package(build(card), card, folder), folder)
        file = Path(room, "model.onnx")
        try:
            write_export(package, file, Wish("onnx"))
        except ModelError as error:
            print(f"  {error}", flush=True)
            return found
        session = open_session(file, file.read_bytes(), threads=1)
        pixels = {session.get_inputs()[0].name: np.ascontiguousarray(chip.numpy())}
        found["onnxruntime"] = best(lambda: session.run(None, pixels), size**2, seconds)
        found["openvino"] = openvino_speed(file, chip.numpy(), seconds)
    return found


def openvino_speed(file: Path, chip: np.ndarray[Any, Any], seconds: float) -> float | None:
    try:
        import openvino  # noqa: PLC0415 (may be missing)
    except ImportError:
        return None
    core = openvino.Core()
    model = core.compile_model(str(file), "CPU", {"INFERENCE_NUM_THREADS": 1})
    return best(lambda: model(chip), chip.shape[-1] ** 2, seconds)


def row(label: str, named: dict[str, Any], size: int, seconds: float) -> dict[str, Any]:
    card = named_card(named, bands=BANDS, classes=CLASSES)
    if "encoder_depth" in named:
        card = replace(card, stride=2 ** int(named["encoder_depth"]))
    network = build(card)
    found = costs(network, bands=BANDS, size=size)
    return {
        "name": label,
        "architecture": dict(card.architecture),
        "parameters": found.parameters,
        "flops_per_pixel": found.flops_per_pixel,
        "reach": structural_reach(network, bands=BANDS, stride=card.stride),
        "stride": card.stride,
        "activation_bytes": found.activation_bytes,
        "mpx_per_second": speeds(card, size, seconds),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    head = "| network | encoder | parameters | FLOPs/px | reach | " + " | ".join(ENGINES) + " |"
    lines = [head, "| --- | --- | ---: | ---: | ---: |" + " ---: |" * len(ENGINES)]
    for r in rows:
        reach = "∞" if r["reach"] is None else f"{r['reach']} px"
        speed = [r["mpx_per_second"][e] for e in ENGINES]
        cells = " | ".join("-" if v is None else f"{v:.2f}" for v in speed)
        encoder = r["architecture"].get("encoder", "")
        lines.append(
            f"| {r['name']} | {encoder} | {r['parameters'] / 1e6:.2f} M | "
            f"{r['flops_per_pixel']:,} | {reach} | {cells} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="all without any")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=1.0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    known = {n: {"name": n} for n in ARCHITECTURES if n != "transformers"} | MORE
    rows = []
    for label in asked.names or known:
        rows.append(row(label, known[label], asked.size, asked.seconds))
        print(markdown(rows[-1:]).splitlines()[-1], flush=True)
        machine = f"{platform.machine()}, torch {torch.__version__}"
        if asked.json:
            content = {"machine": machine, "size": asked.size, "rows": rows}
            asked.json.write_text(json.dumps(content, indent=2) + "\n")
        if asked.markdown:
            asked.markdown.write_text(markdown(rows))


if __name__ == "__main__":
    main()
