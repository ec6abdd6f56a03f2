"""Networks that come as graphs: ``torch.export`` and TorchScript, opened as any other network."""

from __future__ import annotations

import io
import logging
import os
import warnings
from pathlib import Path
from typing import Any, Final, Self

import torch
from torch import Tensor, nn

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard
from geoseg.models.card_rules import OUTPUTS
from geoseg.models.formats import PT2, TORCHSCRIPT, Format
from geoseg.models.pt2_archive import check_archive

ALLOW: Final = "GEOSEG_ALLOW_CODE"
"""Environment variable: set to 1, models may be opened that run code of their own."""

_TINY: Final = 1e-12
_OLDEST: Final = (2, 8)


class Graph(nn.Module):
    """A graph as a module that does not mind being asked to be in evaluation mode."""

    def __init__(self, call: nn.Module) -> None:
        super().__init__()
        self.call = call

    def train(self, mode: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002 (nn.Module's own)
        """Stays as it is: graphs are traced in evaluation mode, and cannot change."""
        self.training = False
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Whatever the graph gives."""
        found: Tensor = self.call(x)
        return found


class AsLogits(nn.Module):
    """A network whose output is turned into logits, one plane for each class."""

    def __init__(self, network: nn.Module, output: str) -> None:
        super().__init__()
        self.network, self._output = network, output

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(chip, class, y, x)``."""
        y: Tensor = self.network(x)
        if self._output == "probabilities":
            return y.clamp_min(_TINY).log()
        if self._output == "probability":
            return torch.cat([1 - y, y], dim=1).clamp_min(_TINY).log()
        return torch.cat([torch.zeros_like(y), y], dim=1)


def as_logits(network: nn.Module, card: ModelCard) -> nn.Module:
    """The network itself, where it gives logits of each class."""
    return network if card.output == OUTPUTS[0] else AsLogits(network, card.output)


def open_graph(path: Path, data: bytes, known: Format, *, allow_code: bool) -> nn.Module:
    """The network in a ``.pt2`` or TorchScript file.

    Raises:
        ModelError: It is damaged, of another torch, or runs code that nobody has allowed.
    """
    if known is TORCHSCRIPT:
        return Graph(_scripted(path, data, allow_code=allow_code))
    return Graph(_exported(path, data))


def code_allowed() -> bool:
    """Whether the environment allows models that run code of their own."""
    return os.environ.get(ALLOW, "") == "1"


def _scripted(path: Path, data: bytes, *, allow_code: bool) -> nn.Module:
    if not (allow_code or code_allowed()):
        raise ModelError(
            f"{path}: TorchScript runs code that it brings along. If you trust where it is from: "
            f"`allow_code: true` beside the model in the workflow, --allow-code on the command "
            f"line, or {ALLOW}=1"
        )
    try:
        with warnings.catch_warnings():
            # torch calls TorchScript deprecated; people's files are there nevertheless.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            load: Any = torch.jit.load  # torch gives it no types
            network: nn.Module = load(io.BytesIO(data), map_location="cpu")
    except Exception as error:  # it fails in every way
        raise ModelError(f"{path}: not {TORCHSCRIPT.name}: {_line(error)}") from error
    return network.eval()


def _exported(path: Path, data: bytes) -> nn.Module:
    here = tuple(int(n) for n in torch.__version__.split(".")[:2])
    if here < _OLDEST:
        raise ModelError(
            f"{path}: {PT2.suffix} files need torch 2.8 or newer; here is {torch.__version__}"
        )
    check_archive(path, data)
    why, logger = _Why(), logging.getLogger("torch.export")
    logger.addFilter(why)
    try:
        program: Any = torch.export.load(io.BytesIO(data))
        # The guards are text that would be compiled, and refuse chips of one stride needlessly.
        network: nn.Module = program.module(check_guards=False)
    except Exception as error:  # it fails in every way
        raise ModelError(
            f"{path}: torch {torch.__version__} cannot open it: {_line(why.error or error)}: it is "
            f"damaged, or of another torch: export it anew with this one"
        ) from error
    finally:
        logger.removeFilter(why)
    return network


class _Why(logging.Filter):
    """Takes what torch logs, a traceback, instead of saying it in the error; and shows none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.error: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Keeps the error."""
        if record.exc_info:
            self.error = record.exc_info[1]
        return False


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
