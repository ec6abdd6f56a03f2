"""What a training has come to, kept so that it goes on after it was killed at any moment.

A file is a line that says what it is, the sha256 of what follows, and what ``torch.save`` made of
plain numbers, texts and tensors; it is read with ``weights_only``, which runs no code. It is written
beside its place, synced and renamed, and the one before is kept until there is a newer one.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from geoseg.errors import ProductError

_MAGIC: Final = b"geoseg checkpoint 1\n"
_PREFIX, _SUFFIX, _PART = "checkpoint-", ".pt", ".part"
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Found:
    """What there is to go on from.

    Attributes:
        state: As it was saved; None: begin anew.
        notes: What a user should know about it, each a sentence.
    """

    state: dict[str, Any] | None
    notes: tuple[str, ...] = ()


class Checkpoints:
    """The checkpoints of one training.

    Args:
        folder: Where they are; made when the first is saved.
        identity: What the curve follows from (settings, card, data, first weights), each by name:
            only a checkpoint of the same identity is gone on from.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str]) -> None:
        self._folder, self._identity = folder, dict(identity)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Keep ``state``, and of those before it only the last.

        Raises:
            ProductError: It cannot be written.
        """
        buffer = io.BytesIO()
        torch.save({"identity": self._identity, "state": dict(state)}, buffer)
        payload = buffer.getvalue()
        digest = hashlib.sha256(payload).hexdigest().encode()
        write(self._folder / f"{_PREFIX}{step:09d}{_SUFFIX}", _MAGIC + digest + b"\n" + payload)
        for old in self._files()[_KEPT:]:
            old.unlink(missing_ok=True)

    def load(self) -> Found:
        """The newest that is whole; nothing, where it is of another training."""
        notes: list[str] = []
        for path in self._files():
            saved = _read(path)
            if saved is None:
                notes.append(f"{path} is damaged and was passed over")
                continue
            changed = _changed(saved["identity"], self._identity)
            if changed:
                notes.append(f"training begins anew: {path} is of another one ({changed})")
                return Found(None, tuple(notes))
            return Found(saved["state"], tuple(notes))
        if notes:
            notes.append("training begins anew: no checkpoint is whole")
        return Found(None, tuple(notes))

    def clear(self) -> None:
        """Remove all of them, and what killed writers left."""
        leftovers = self._folder.glob(f".{_PREFIX}*{_PART}")
        for path in [*self._files(), *leftovers]:
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """The newest first."""
        return sorted(self._folder.glob(f"{_PREFIX}*{_SUFFIX}"), reverse=True)


def write(path: Path, data: bytes) -> None:
    """A whole file or none, even if the machine loses its power.

    Raises:
        ProductError: It cannot be written.
    """
    beside = path.with_name(f".{path.name}{_PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync(path.parent)
    except OSError as error:
        raise ProductError(f"{path}: cannot be written: {error.strerror or error}") from error


def sync(path: Path) -> None:
    """Wait until the disk has what ``path``, a file or a folder, holds."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, Any] | None:
    """What was saved; None where not every byte is as it was written."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + 65
    payload = data[head:]
    digest = hashlib.sha256(payload).hexdigest().encode()
    if data[:head] != _MAGIC + digest + b"\n":
        return None
    try:
        saved: dict[str, Any] = torch.load(
            io.BytesIO(payload), map_location="cpu", weights_only=True
        )
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        return None
    return saved


def _changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What differs, in words; empty where nothing does."""
    names = [n for n in {**before, **now} if before.get(n) != now.get(n)]
    short = [n for n in names if max(len(before.get(n, "")), len(now.get(n, ""))) <= 40]
    said = [f"{n} was {before.get(n) or 'not set'}, is {now.get(n) or 'not set'}" for n in short]
    said += [f"other {n}" for n in names if n not in short]
    return "; ".join(said)
