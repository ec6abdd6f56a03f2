"""Models of Hugging Face's hub: packages, and folders of transformers, of smp and of timm."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from geoseg.errors import ModelError
from geoseg.models.bare import name_from
from geoseg.models.base import ModelCard
from geoseg.models.deepness import invented_legend
from geoseg.models.fields import read_json
from geoseg.models.formats import CONVERT
from geoseg.models.told import Told, card_from
from geoseg.models.zoo import ARCHITECTURES

SCHEME: Final = "hf://"
TIMM: Final = "timm://"
CONFIG: Final = "config.json"

_ADDRESS = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_WANTED: Final = ("*.json", "*.safetensors", "*.onnx", "*.pt2")
_WEIGHTS: Final = "model.safetensors"
_RGB: Final = ("red", "green", "blue")
_SMP_NAMES: Final = {entry.smp.lower(): name for name, entry in ARCHITECTURES.items() if entry.smp}
# What the card says in another place, or what would only be used while learning.
_SMP_OWN: Final = ("encoder_name", "encoder_weights", "in_channels", "classes", "activation")


def fetch(address: str) -> Path:
    """The local folder of ``hf://organisation/name[@revision]``, fetched if it is not there yet.

    No pickle is fetched. ``HF_HUB_OFFLINE=1`` and ``HF_HOME`` mean what they mean to
    huggingface_hub.

    Raises:
        ModelError: There is no such repository, or it cannot be fetched.
    """
    match = _ADDRESS.fullmatch(address.removeprefix(SCHEME))
    if match is None:
        raise ModelError(f"{address}: wanted {SCHEME}organisation/name or .../name@revision")
    try:
        from huggingface_hub import snapshot_download  # noqa: PLC0415 (takes a second)

        found = snapshot_download(
            match["repo"], revision=match["revision"], allow_patterns=list(_WANTED)
        )
    except Exception as error:  # it raises many classes of its own
        line = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"{address}: cannot be fetched: {line}. Without network: bring a copy of the folder and "
            f"say `geoseg models add FOLDER`"
        ) from error
    return Path(found)


def is_hub_folder(folder: Path) -> bool:
    """Whether it is laid out as models on the hub are."""
    return (folder / CONFIG).is_file()


def write_from_folder(folder: Path, out: Path, told: Told, *, source: str) -> ModelCard:
    """Make a package of a hub's folder; gives its card.

    Raises:
        ModelError: It is none that geoseg knows, or its weights are pickles.
    """
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise ModelError(f"{folder / CONFIG}: found {str(config)[:40]!r}; wanted a mapping")
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pth", ".pt"))
        what = f"only {', '.join(pickles)}, a pickle: {CONVERT}" if pickles else "none"
        raise ModelError(f"{folder}: wanted {_WEIGHTS} with the weights; there is {what}")
    if "_model_class" in config:
        return _from_smp(folder, config, out, told, source)
    if "model_type" in config:
        return _from_transformers(folder, config, out, told, source)
    if "architecture" in config:
        encoder = str(config["architecture"])
        return write_with_encoder(folder / _WEIGHTS, encoder, out, told, source=source)
    raise ModelError(
        f"{folder / CONFIG}: is neither of transformers (model_type), nor of "
        f"segmentation-models-pytorch (_model_class), nor of timm (architecture)"
    )


def write_with_encoder(
    weights: Path, encoder: str, out: Path, told: Told, *, source: str
) -> ModelCard:
    """A package whose encoder has weights of timm, and whose decoder has yet to be trained."""
    from geoseg.models.encoders import put_encoder  # noqa: PLC0415 (torch)
    from geoseg.models.weights_file import save_package  # noqa: PLC0415 (torch)

    if not told.architecture.get("name"):
        raise ModelError(
            f"{source}: is an encoder, which classifies nothing by itself: say what to build over it "
            f"with --architecture unet (and --bands, --classes, --units), then train it"
        )
    name = encoder.partition(".")[0]
    asked = replace(told, architecture={**told.architecture, "encoder": f"tu-{name}"})
    title = f"{told.architecture['name']} over timm's {encoder}: its decoder is not trained yet"
    known: dict[str, Any] = {"name": name_from(f"{told.architecture['name']}-{name}")}
    card = card_from(asked, source, about={"title": title, "source": source}, **known)
    network = put_encoder(card, name, weights)
    return save_package(network, measured(card, network), out)


def _from_smp(
    folder: Path, config: Mapping[str, Any], out: Path, told: Told, source: str
) -> ModelCard:
    from geoseg.models.architectures import build  # noqa: PLC0415 (torch)
    from geoseg.models.weights_file import load_weights, save_package  # noqa: PLC0415 (torch)

    kind = str(config["_model_class"])
    name = _SMP_NAMES.get(kind.lower())
    if name is None:
        raise ModelError(f"{folder / CONFIG}: no architecture {kind!r} of smp is known")
    if config.get("aux_params"):
        raise ModelError(f"{folder / CONFIG}: has a second head (aux_params); geoseg takes one")
    parameters = {k: v for k, v in config.items() if not k.startswith("_") and k not in _SMP_OWN}
    parameters.pop("aux_params", None)
    architecture = {"name": name, "encoder": config.get("encoder_name", "resnet34"), **parameters}
    count = int(config.get("classes", 1))
    bands = _RGB if config.get("in_channels", 3) == len(_RGB) else ()
    card = card_from(
        replace(told, architecture={}),
        source,
        name=name_from(source.rpartition("/")[2]),
        bands=bands,
        architecture=architecture,
        stride=ARCHITECTURES[name].stride,
        output="logit" if count == 1 else "logits",
        about={"title": f"{kind} of segmentation-models-pytorch", "source": source},
    )
    _check_counts(folder, card, int(config.get("in_channels", 3)), count)
    network = build(card)
    load_weights(network, folder / _WEIGHTS, None)
    return save_package(network, measured(card, network), out)


def _from_transformers(
    folder: Path, config: Mapping[str, Any], out: Path, told: Told, source: str
) -> ModelCard:
    from geoseg.models.architectures import build  # noqa: PLC0415 (torch)
    from geoseg.models.hugging import load_pretrained, plain_config  # noqa: PLC0415 (torch)
    from geoseg.models.weights_file import save_package  # noqa: PLC0415 (torch)

    labels = config.get("id2label")
    names = _labels(folder, labels) if labels else ()
    mean, std = _preprocessing(folder)
    bands = int(
        config.get("num_channels") or (config.get("backbone_config") or {}).get("num_channels") or 3
    )
    name = name_from(source.rpartition("/")[2])
    card = card_from(
        replace(told, architecture={}),
        source,
        name=name,
        bands=_RGB if bands == len(_RGB) else (),
        legend=invented_legend(told.name or name, names) if names else None,
        units="dn",
        mean=mean,
        std=std,
        architecture={"name": "transformers", "config": plain_config(config)},
        about={
            "title": f"{config['model_type']} of transformers",
            "source": source,
            "dtype": "uint8",
        },
    )
    _check_counts(folder, card, bands, len(names) or len(card.legend.classes))
    network = load_pretrained(folder, card)
    wanted = build(card).state_dict()
    found = network.state_dict()
    if {k: v.shape for k, v in wanted.items()} != {k: v.shape for k, v in found.items()}:
        raise ModelError(f"{folder}: its weights are not those of the network of its {CONFIG}")
    return save_package(network, measured(card, network), out)


def _labels(folder: Path, labels: Any) -> tuple[str, ...]:
    try:
        numbered = {int(key): str(value) for key, value in labels.items()}
    except (AttributeError, TypeError, ValueError):
        numbered = {}
    if not numbered or sorted(numbered) != list(range(len(numbered))):
        raise ModelError(f"{folder / CONFIG}: id2label: wanted names of the classes 0, 1, 2, ...")
    names = [numbered[i] for i in range(len(numbered))]
    # Legends have each name once; other people's lists need not.
    return tuple(n if names.count(n) == 1 else f"{n} ({i})" for i, n in enumerate(names))


def _preprocessing(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of the numbers as stored (0..255), as ``preprocessor_config.json`` has it."""
    path = folder / "preprocessor_config.json"
    found = read_json(path) if path.is_file() else {}
    factor = float(found.get("rescale_factor", 1 / 255)) if found.get("do_rescale", True) else 1.0
    if not found.get("do_normalize", True):
        return (0.0,), (1 / factor,)
    mean, std = found.get("image_mean"), found.get("image_std")
    if not isinstance(mean, list) or not isinstance(std, list):
        raise ModelError(f"{path}: wanted image_mean and image_std; or say --mean and --std")
    return tuple(float(m) / factor for m in mean), tuple(float(s) / factor for s in std)


def _check_counts(folder: Path, card: ModelCard, bands: int, classes: int) -> None:
    if len(card.bands) != bands:
        raise ModelError(
            f"{folder / CONFIG}: its network takes {bands} bands, {len(card.bands)} are named: "
            f"{', '.join(card.bands)}"
        )
    named = 1 if card.output == "logit" else len(card.legend.classes)
    if named != classes:
        raise ModelError(
            f"{folder / CONFIG}: its network gives {classes} classes, {named} are named"
        )


def measured(card: ModelCard, network: Any) -> ModelCard:
    """The card with what the network really needs, and how far it looks."""
    from geoseg.models.reach import measure  # noqa: PLC0415 (torch)

    size = max(2, 128 // card.stride) * card.stride
    found = measure(network, bands=len(card.bands), stride=card.stride, size=size)
    about = {**card.about, "parameters": found.parameters, "flops_per_pixel": found.flops_per_pixel}
    return replace(
        card, reach=found.reach, activation_bytes=max(found.activation_bytes, 1), about=about
    )
