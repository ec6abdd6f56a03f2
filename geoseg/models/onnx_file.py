"""ONNX files before they are run: what goes in and out, what they say of themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ModelError

CARD_KEY: Final = "geoseg_card"
"""Metadata of files that geoseg writes: the card of the model."""


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """An ONNX network for chips, as its file describes it.

    Attributes:
        path: The file.
        input: Name of its input.
        bands: Channels of the input.
        sides: Height and width that chips must have; None where they are free.
        planes: Channels of the output; None where it does not say.
        metadata: What whoever exported it has added, by key.
    """

    path: Path
    input: str
    bands: int
    sides: tuple[int, int] | None
    planes: int | None
    metadata: Mapping[str, str]

    @property
    def card(self) -> Any:
        """The card that geoseg put into it, as JSON; None where there is none."""
        text = self.metadata.get(CARD_KEY)
        try:
            return None if text is None else json.loads(text)
        except ValueError as error:
            raise ModelError(f"{self.path}: {CARD_KEY}: not JSON: {error}") from error


def read_onnx(path: Path, data: bytes | None = None) -> OnnxFile:
    """Look into an ONNX file; its weights are not used yet.

    Raises:
        ModelError: onnxruntime is missing, or the file is damaged, or is no network for chips.
    """
    return describe(path, open_session(path, path.read_bytes() if data is None else data))


def open_session(
    path: Path, data: bytes, *, threads: int | None = None, device: str = "cpu"
) -> Any:
    """A session of onnxruntime; the same bits in every run.

    The file is given as bytes, so that it can point to no other file.

    Raises:
        ModelError: onnxruntime is missing, or cannot open it.
    """
    runtime = load_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.use_deterministic_compute = True
    if threads is not None:
        options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda"):
        number = int(device.partition(":")[2] or 0)
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": number}))
    try:
        return runtime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # it raises many classes of its own
        raise ModelError(f"{path}: not ONNX that onnxruntime can open: {_line(error)}") from error


def load_runtime() -> Any:
    """The package, if it is there.

    Raises:
        ModelError: It is not.
    """
    try:
        import onnxruntime  # noqa: PLC0415 (may be missing)
    except ImportError as error:
        raise ModelError(
            "ONNX models are run by onnxruntime, which is not installed: pip install 'geoseg[onnx]'"
        ) from error
    return onnxruntime


def describe(path: Path, session: Any) -> OnnxFile:
    """What a session says of its network.

    Raises:
        ModelError: It is no network for chips.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{path}: has {len(inputs)} inputs and {len(outputs)} outputs; wanted one of each, "
            f"chips and scores"
        )
    for what, value in (("input", inputs[0]), ("output", outputs[0])):
        if value.shape and len(value.shape) != 4:
            raise ModelError(
                f"{path}: its {what} {value.name!r} has {len(value.shape)} axes: {value.shape}; "
                f"wanted 4: chip, {'band' if what == 'input' else 'class'}, y, x"
            )
    if inputs[0].type != "tensor(float)":
        raise ModelError(f"{path}: its input is {inputs[0].type}; wanted tensor(float)")
    shape = inputs[0].shape
    if len(shape) != 4 or not isinstance(shape[1], int):
        raise ModelError(f"{path}: does not say how many bands it takes: input {shape}")
    sides = shape[2:] if all(isinstance(n, int) for n in shape[2:]) else None
    if sides is None and any(isinstance(n, int) for n in shape[2:]):
        raise ModelError(f"{path}: takes chips of one height or width only: input {shape}")
    last = outputs[0].shape
    planes = last[1] if len(last) == 4 and isinstance(last[1], int) else None
    metadata = dict(session.get_modelmeta().custom_metadata_map)
    return OnnxFile(
        path, inputs[0].name, shape[1], None if sides is None else tuple(sides), planes, metadata
    )


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
