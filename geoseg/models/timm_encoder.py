"""Encoders of timm as plain networks: some of their feature maps, finest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


class TimmEncoder(nn.Module):
    """The feature maps of an encoder of timm, ``(chip, channel, y, x)``, finest first.

    Args:
        name: What timm calls it; its weights are random, nothing is downloaded.
        bands: Input channels.
        reductions: Wanted strides of the maps; of each the last that the encoder has, and its
            coarsest map where there is none so coarse. Empty: its coarsest.
        output_stride: Encoders that can be dilated are, so that nothing is coarser than this.

    Raises:
        ValueError: The encoder has no such maps.
    """

    def __init__(
        self,
        name: str,
        bands: int,
        *,
        reductions: Sequence[int] = (),
        output_stride: int | None = None,
    ) -> None:
        import timm  # noqa: PLC0415 (takes a second, own networks need none)

        super().__init__()
        dilated = {} if output_stride is None else {"output_stride": output_stride}
        asked: dict[str, Any] = {"in_chans": bands, "pretrained": False, **dilated}
        asked |= _any_size(timm, name)
        # Its class is timm's own, and has more than torch's stubs know of.
        whole: Any = timm.create_model(name, features_only=True, **asked)
        found = whole.feature_info.reduction()
        at = sorted({_last_at(found, wanted) for wanted in reductions or (max(found),)})
        body: Any = timm.create_model(name, features_only=True, out_indices=at, **asked)
        self.body = body
        self.channels = tuple(int(n) for n in body.feature_info.channels())
        self.output_stride = int(max(body.feature_info.reduction()))
        self._last = str(getattr(body, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, x: Tensor) -> list[Tensor]:
        """One map for each stride that was asked for."""
        maps: list[Tensor] = self.body(x)
        return [m.permute(0, 3, 1, 2) for m in maps] if self._last else list(maps)


def _last_at(found: Sequence[int], wanted: int) -> int:
    """Place of the last map of stride ``wanted``; of the coarsest below it where none has it."""
    least = min(found)
    below = max((n for n in found if n <= wanted), default=least)
    return max(i for i, n in enumerate(found) if n == below)


def _any_size(timm: Any, name: str) -> dict[str, Any]:
    """What transformers of fixed size need to take chips of any."""
    make = timm.models.model_entrypoint(name)
    if make.__module__.rpartition(".")[2] in ("vision_transformer", "deit", "beit", "eva"):
        return {"dynamic_img_size": True}
    return {}
