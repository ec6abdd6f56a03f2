"""Networks of transformers: Mask2Former by a few numbers, and any other by its configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (torch's own habit)

from geoseg.errors import ModelError
from geoseg.models.base import ModelCard

KINDS: Final = (
    "segformer",
    "upernet",
    "mask2former",
    "dpt",
    "beit",
    "data2vec-vision",
    "mobilevit",
)
"""What ``model_type`` of a configuration may be: those that transformers can segment with."""

_STEPS: Final = 32
# Entries of a configuration that are about files and learning.
_DROPPED: Final = frozenset(
    {
        "id2label",
        "label2id",
        "architectures",
        "auto_map",
        "transformers_version",
        "torch_dtype",
        "_name_or_path",
        "dtype",
        "_commit_hash",
    }
)
_MAKERS: Final = {"mask2former": "Mask2FormerForUniversalSegmentation"}


class Hugged(nn.Module):
    """A network of transformers that gives logits ``(chip, class, y, x)`` as others do.

    Mask2Former answers with queries, each of which has a class and a mask; a pixel's score for a
    class is the sum over queries of both probabilities (Cheng et al. 2022, section 3.4 of
    MaskFormer), and its logarithm is the logit.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.output_stride = _STEPS

    def forward(self, x: Tensor) -> Tensor:
        """Logits at the resolution of the chip."""
        out = self.network(pixel_values=x)
        if hasattr(out, "masks_queries_logits"):
            logits = _of_queries(out.class_queries_logits, out.masks_queries_logits)
        else:
            logits = out.logits
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)


def from_config(config: Mapping[str, Any], *, bands: int, classes: int) -> Hugged:
    """The network of a ``config.json`` of transformers, with random weights.

    Raises:
        ModelError: transformers is missing, or it knows no such network.
        ValueError: The configuration cannot be followed.
    """
    transformers = load_transformers()
    kind = config.get("model_type")
    if kind not in KINDS:
        raise ModelError(f"no network of transformers {kind!r}; known: {', '.join(KINDS)}")
    settings = dict(config) | {"num_labels": classes}
    for key in ("model_type", "id2label", "label2id", "architectures", "auto_map"):
        settings.pop(key, None)
    inner = settings.get("backbone_config")
    if isinstance(inner, dict):
        settings["backbone_config"] = inner | {"num_channels": bands}
    else:
        settings["num_channels"] = bands
    # Names of other people's code or files are nothing that a configuration may ask for.
    settings |= (
        {"use_pretrained_backbone": False, "backbone": None} if "backbone" in settings else {}
    )
    made = transformers.AutoConfig.for_model(kind, **settings)
    name = _MAKERS.get(str(kind))
    make = getattr(transformers, name) if name else None
    network = (
        make(made) if make else transformers.AutoModelForSemanticSegmentation.from_config(made)
    )
    return Hugged(network)


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a card keeps of a ``config.json``: the network, and nothing about files or learning."""
    return {key: value for key, value in config.items() if key not in _DROPPED}


def load_pretrained(folder: Path, card: ModelCard) -> Hugged:
    """A network of a folder of transformers, with its weights; safetensors only.

    Raises:
        ModelError: transformers cannot load it, or the weights are not all there.
    """
    transformers = load_transformers()
    config: Any = card.architecture["config"]
    name = _MAKERS.get(str(config["model_type"]), "AutoModelForSemanticSegmentation")
    try:
        network, info = getattr(transformers, name).from_pretrained(
            folder, use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # it fails in every way
        line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise ModelError(f"{folder}: transformers cannot load it: {line}") from error
    missing = sorted(info["missing_keys"])
    if missing or info.get("mismatched_keys"):
        first = missing[0] if missing else str(min(info["mismatched_keys"]))
        raise ModelError(
            f"{folder}: its weights are not the network's: {first} is missing or other"
        )
    return Hugged(network.float().eval())


def mask2former(
    bands: int,
    classes: int,
    *,
    width: int = 48,
    depths: tuple[int, ...] = (2, 2, 2, 2),
    queries: int = 40,
    features: int = 128,
) -> Hugged:
    """Mask2Former (Cheng et al. 2022) over a small Swin transformer, semantic.

    Args:
        bands: Input channels.
        classes: Output channels.
        width: Channels of Swin's first stage; they double with each of the four.
        depths: Blocks of each stage.
        queries: What it can tell apart in one chip; at least one a class.
        features: Width of both decoders.
    """
    config = {
        "model_type": "mask2former",
        "backbone_config": {
            "model_type": "swin",
            "embed_dim": width,
            "depths": list(depths),
            "num_heads": [max(1, width * 2**level // 24) for level in range(4)],
            "window_size": 7,
            "out_features": ["stage1", "stage2", "stage3", "stage4"],
        },
        "feature_size": features,
        "mask_feature_size": features,
        "hidden_dim": features,
        "encoder_feedforward_dim": 2 * features,
        "dim_feedforward": 4 * features,
        "encoder_layers": 2,
        "decoder_layers": 4,
        "num_attention_heads": 4,
        "num_queries": queries,
    }
    return from_config(config, bands=bands, classes=classes)


def load_transformers() -> Any:
    """The package, if it is there.

    Raises:
        ModelError: It is not.
    """
    # Nothing of it may ask the network for anything.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import transformers  # noqa: PLC0415 (takes seconds, and may be missing)
    except ImportError as error:
        raise ModelError(
            "this network is made by transformers, which is not installed: "
            "pip install 'geoseg[transformers]'"
        ) from error
    return transformers


def _of_queries(classes: Tensor, masks: Tensor) -> Tensor:
    """Logits of ``(chip, query, class + 1)`` and ``(chip, query, y, x)``; the last class is none."""
    shares = classes.softmax(dim=-1)[..., :-1]
    scores = torch.einsum("bqc,bqhw->bchw", shares, masks.sigmoid())
    return scores.clamp_min(1e-6).log()
