"""The training loop: learn, look at what is held out, keep what is needed to go on."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import monotonic

import torch
from torch import Tensor, nn

from geoseg.errors import InputError
from geoseg.models.base import ModelCard
from geoseg.models.torch_device import checked_precision, device_of
from geoseg.models.training.base import (
    ChipSource,
    HeldOutSource,
    LabelledChips,
    Look,
    Narrator,
    TrainingSettings,
    Watcher,
)
from geoseg.models.training.checkpoint import Checkpoints, write
from geoseg.models.training.geometry import Chips
from geoseg.models.training.judge import judge, some_threads
from geoseg.models.training.learner import Learner
from geoseg.models.training.prefetch import read_ahead
from geoseg.models.training.schedule import learning_rate
from geoseg.models.weights_file import digest

METRICS_FILE = "metrics.jsonl"
CHECKPOINTS = "checkpoints"

# Of the settings, what does not change what is learnt.
_HARMLESS = ("checkpoint_every",)
# What numbers may be.
_RANGES = {
    **dict.fromkeys(("steps", "batch", "validate_every", "checkpoint_every"), (1, math.inf)),
    **dict.fromkeys(("learning_rate", "weight_decay", "clip"), (0.0, math.inf)),
    **dict.fromkeys(("warmup", "ema"), (0.0, 1.0)),
    "seed": (0, math.inf),
}
# Of a card, what a network's curve follows from.
_CARD = ("bands", "units", "mean", "std", "scaling", "stride", "architecture")


def train(  # noqa: PLR0913 (one call says all of a training)
    card: ModelCard,
    network: nn.Module,
    source: ChipSource,
    *,
    held_out: HeldOutSource | None = None,
    settings: TrainingSettings,
    folder: Path,
    unlabelled: ChipSource | None = None,
    data: str = "",
    device: str = "auto",
    threads: int | None = None,
    watcher: Watcher,
) -> nn.Module:
    """Train a network; if it was begun in ``folder`` before, go on from there.

    The same call gives the same weights and metrics to the last bit, on one kind of machine with
    one number of threads, however often it was killed and started again.

    Args:
        card: What the network takes and gives.
        network: It becomes training's own; its weights are where learning begins.
        source: Labelled chips.
        held_out: What it is judged by; None: the last weights are kept, not the best.
        settings: How to train.
        folder: Gets ``metrics.jsonl`` and ``checkpoints``.
        unlabelled: Chips to learn from by self-training; their labels are not looked at.
        data: What tells these chips from others, a hash of their files, say. The first batch is
            looked at anyway.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        threads: CPU threads of torch; None leaves them. Another number gives other last bits.
        watcher: Is told. If its ``step`` raises KeyboardInterrupt (StoppedError, say), training
            stops in good order: what is done is kept. One that is a :class:`~geoseg.models.training.base.Narrator` is also told
            in words, if training goes on from a checkpoint or cannot.

    Returns:
        The moving average of the weights, as it was when its mean IoU on what is held out was
        highest; on the CPU, in evaluation mode.

    Raises:
        ModelError: Settings, chips and card do not fit together, or there is no such device.
        TrainingError: Loss or gradient are no numbers any more; says in which step.
        ProductError: ``folder`` cannot be written to.
    """
    where = device_of(device)
    _check(settings, unlabelled, held_out, where)
    identity = _identity(card, network, settings, (source, unlabelled, held_out), data, where)
    store = Checkpoints(folder / CHECKPOINTS, identity)
    cuda = [where] if where.type == "cuda" else []
    with some_threads(threads), torch.random.fork_rng(cuda), _repeatable():
        learner = Learner(card, network, settings, where)
        run = _Run(card, learner, settings, folder, store, held_out, watcher)
        run.resume()
        run.go(source, unlabelled)
        return run.result()


@dataclass(slots=True)
class _Progress:
    """What there is to know beside the weights; plain numbers and texts.

    ``best`` is the highest mean IoU yet, of ``waited`` looks ago.
    """

    step: int = 0
    seconds: float = 0.0
    total: float = 0.0
    count: int = 0
    best: float = -math.inf
    waited: int = 0
    over: bool = False
    lines: list[str] = field(default_factory=list)


class _Run:
    """One session of a training."""

    def __init__(
        self,
        card: ModelCard,
        learner: Learner,
        settings: TrainingSettings,
        folder: Path,
        store: Checkpoints,
        held_out: HeldOutSource | None,
        watcher: Watcher,
    ) -> None:
        self._card, self._learner, self._settings = card, learner, settings
        self._metrics, self._store = folder / METRICS_FILE, store
        self._held_out, self._watcher = held_out, watcher
        self._progress = _Progress()
        self._best: dict[str, Tensor] | None = None
        self._since = monotonic()

    def resume(self) -> None:
        """Go to where the last checkpoint was, and the file of metrics with it."""
        found = self._store.load()
        if found.state is None:
            self._store.clear()
        else:
            self._learner.restore(found.state["learner"])
            self._best = found.state["best"]
            self._progress = _Progress(**found.state["progress"])
        lines = "".join(f"{line}\n" for line in self._progress.lines)
        write(self._metrics, lines.encode())
        if isinstance(self._watcher, Narrator):
            for note in found.notes:
                self._watcher.note(note)
            if found.state is not None:
                self._watcher.note(f"training goes on after step {self._progress.step}")

    def go(self, source: ChipSource, unlabelled: ChipSource | None) -> None:
        """All the steps that are left."""
        progress, settings = self._progress, self._settings
        if progress.over:
            return
        self._since = monotonic() - progress.seconds
        with (
            self._ahead(source) as labelled,
            nullcontext(_nothing) if unlabelled is None else self._ahead(unlabelled) as without,
        ):
            while not progress.over:
                loss = self._learner.step(progress.step, labelled(), without())
                progress.step += 1
                progress.total += loss
                progress.count += 1
                stopped = self._tell(loss)
                last = progress.step >= settings.steps
                if last or progress.step % settings.validate_every == 0:
                    self._look()
                progress.over = last or self._patience_ends()
                if stopped or progress.over or progress.step % settings.checkpoint_every == 0:
                    self._keep()
                if stopped:
                    raise stopped

    def result(self) -> nn.Module:
        """The best weights, or the last where nothing was held out."""
        network = self._learner.average.network
        if self._best is not None:
            network.load_state_dict(self._best)
        return copy.deepcopy(network).cpu().eval().requires_grad_(requires_grad=False)

    def _ahead(self, source: ChipSource) -> AbstractContextManager[Callable[[], Chips]]:
        start, end = self._progress.step, self._settings.steps
        return read_ahead(self._card, source, start=start, end=end)

    def _tell(self, loss: float) -> KeyboardInterrupt | None:
        """What a watcher says who wants to stop: first the step is brought to its end."""
        try:
            self._watcher.step(self._progress.step, self._settings.steps, loss)
        except KeyboardInterrupt as stopped:
            return stopped
        return None

    def _look(self) -> None:
        progress, held_out = self._progress, None
        network = self._learner.average.network
        if self._held_out is not None:
            device = str(next(network.parameters()).device)
            judged = judge(self._card, network, self._held_out, device=device)
            held_out = judged.summary(self._card)
            if held_out["mean_iou"] is None:
                raise InputError("nothing that is held out has a label: there is no score to go by")
            self._compare(held_out["mean_iou"], network)
        look = Look(
            step=progress.step,
            loss=progress.total / progress.count,
            learning_rate=learning_rate(self._settings, progress.step - 1),
            seconds=round(monotonic() - self._since, 3),
            held_out=held_out,
        )
        progress.total, progress.count = 0.0, 0
        progress.lines.append(json.dumps(asdict(look), ensure_ascii=False))
        with self._metrics.open("a", encoding="utf-8") as file:
            file.write(progress.lines[-1] + "\n")
        self._watcher.looked(look)

    def _compare(self, score: float, network: nn.Module) -> None:
        progress = self._progress
        if score > progress.best:
            progress.best, progress.waited = score, 0
            self._best = {k: v.detach().cpu().clone() for k, v in network.state_dict().items()}
        else:
            progress.waited += 1

    def _patience_ends(self) -> bool:
        patience = self._settings.patience
        return patience is not None and self._progress.waited >= patience

    def _keep(self) -> None:
        self._progress.seconds = monotonic() - self._since
        state = {
            "learner": self._learner.state(),
            "best": self._best,
            "progress": asdict(self._progress),
        }
        self._store.save(self._progress.step, state)


def _nothing() -> Chips | None:
    return None


@contextmanager
def _repeatable() -> Iterator[None]:
    """Kernels of cuDNN that give the same bits again."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        yield


def _check(
    settings: TrainingSettings,
    unlabelled: ChipSource | None,
    held_out: HeldOutSource | None,
    device: torch.device,
) -> None:
    checked_precision(settings.precision, device)
    for name, (low, high) in _RANGES.items():
        found = getattr(settings, name)
        if not low <= found <= high:
            upper = "" if high == math.inf else f" to {high:g}"
            raise InputError(f"{name}: found {found!r}; wanted a number from {low:g}{upper}")
    changed = settings.augmentation
    if changed is not None and not 0 < changed.scale[0] <= changed.scale[1] < math.inf:
        raise InputError(
            f"augmentation.scale: found {list(changed.scale)}; wanted two factors above 0, the "
            f"smaller one first, like [0.75, 1.33]"
        )
    if (settings.self_training is None) != (unlabelled is None):
        have, lack = ("settings", "chips") if unlabelled is None else ("chips", "settings")
        raise InputError(f"self-training: there are {have} for it, but no {lack}")
    if settings.patience is not None and held_out is None:
        raise InputError("patience: nothing is held out, so there is no score to wait for")


def _identity(
    card: ModelCard,
    network: nn.Module,
    settings: TrainingSettings,
    sources: tuple[ChipSource, ChipSource | None, HeldOutSource | None],
    data: str,
    device: torch.device,
) -> dict[str, str]:
    """What a checkpoint must have been made with to be gone on from, by name."""
    plain = replace(settings, losses=dict(settings.losses))  # any mapping, which asdict cannot copy
    asked = {k: v for k, v in asdict(plain).items() if k not in _HARMLESS}
    source, unlabelled, held_out = sources
    first = None if held_out is None else next(iter(held_out), None)
    seen = {
        "training chips": source.batch(0),
        "unlabelled chips": None if unlabelled is None else unlabelled.batch(0),
        "held-out chips": first,
    }
    return {
        **{k: json.dumps(v, sort_keys=True) for k, v in asked.items()},
        **{
            f"card's {k}": json.dumps(getattr(card, k), sort_keys=True, default=dict) for k in _CARD
        },
        "card's classes": json.dumps(card.legend.names),
        "first weights": digest(network),
        "device": device.type,
        "data": data,
        **{name: _hash(chips) for name, chips in seen.items()},
    }


def _hash(chips: LabelledChips | None) -> str:
    hasher = hashlib.sha256()
    for array in () if chips is None else (chips.values, chips.labels, chips.valid):
        hasher.update(f"{array.shape} {array.dtype}\n".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()
