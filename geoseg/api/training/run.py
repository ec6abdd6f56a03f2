"""Train a model from a workflow: from labelled scenes to a package that maps others."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import geoseg
from geoseg.api.fingerprint import digest
from geoseg.api.training.counting import keep
from geoseg.api.training.describing import describe_data, describe_split, label_hash
from geoseg.api.training.preparing import (
    LOOK,
    WORK,
    Prepared,
    doubts,
    prepared,
    training_settings,
)
from geoseg.api.training.scores import PartScores
from geoseg.api.training.watching import Watching
from geoseg.errors import ProductError
from geoseg.io.atomic import write_bytes
from geoseg.io.training_report import ReportData, write_report
from geoseg.models.base import ModelCard
from geoseg.models.registry import check_device
from geoseg.models.training.base import TrainingSettings
from geoseg.ops.ground import PARTS, TEST, VALIDATION
from geoseg.run.base import Stop
from geoseg.run.lock import hold
from geoseg.run.reporter import Reporter
from geoseg.run.stopping import stop_on_signals
from geoseg.workflow.training import TrainingWorkflow

RECORD = "training.json"
"""Written last: a training without it has not ended."""

CARD, SPLIT, METRICS = "card.json", "split.json", "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What came out.

    Attributes:
        folder: The model package.
        record: As in ``training.json``.
        fresh: False where the same training had ended before.
    """

    folder: Path
    record: Mapping[str, Any]
    fresh: bool


def train_workflow(
    workflow: TrainingWorkflow, reporter: Reporter, *, force: bool = False
) -> TrainingResult:
    """See :func:`geoseg.api.train`."""
    with prepared(workflow, reporter) as made:
        for doubt in doubts(made):
            reporter.warning(doubt)
        settings = training_settings(made)
        check_device(workflow.training.device, settings.precision)
        job = _Job(made, settings, made.target.card(made.moments(), made.gsd()))
        beginning = job.begin()
        with hold(made.folder):
            key = job.fingerprint()
            before = _record(made.folder)
            if before is not None and before.get("fingerprint") == key and not force:
                _tidy(made.folder, keep_counts=True)
                return TrainingResult(made.folder, before, fresh=False)
            if force:
                shutil.rmtree(made.folder / WORK / "checkpoints", ignore_errors=True)
            for note in beginning.notes:
                reporter.message(note)
            record = job.run(beginning.network, reporter, key)
            _tidy(made.folder, keep_counts=True)
    return TrainingResult(made.folder, record, fresh=True)


@dataclass(frozen=True, slots=True)
class _Job:
    """One training, ready to begin."""

    made: Prepared
    settings: TrainingSettings
    card: ModelCard

    def begin(self) -> Any:
        """The network, before its first step.

        Raises:
            ModelError: It cannot be built, or what it starts from does not fit.
        """
        from geoseg.models.training.start import begin  # noqa: PLC0415 (torch takes seconds)

        return begin(self.card, start=self.made.target.start, seed=self.settings.seed)

    def fingerprint(self) -> str:
        """Of all that the model follows from."""
        start = self.made.target.start
        asked = self.made.workflow
        return digest(
            {
                "data": self.made.key,
                "settings": asdict(self.settings) | {"losses": dict(self.settings.losses)},
                "card": repr(self.card),
                "sampling": asked.sampling.model_dump(mode="json", exclude={"cache"}),
                "weights": [data.weight for data in asked.data],
                "use": [data.use for data in asked.data],
                "start": None if start is None else start.card.sha256,
                "report": asked.output.report,
                "geoseg": geoseg.__version__,
            }
        )

    def run(self, network: Any, reporter: Reporter, key: str) -> Mapping[str, Any]:
        """Train, judge, write; gives what is in ``training.json``."""
        made, work = self.made, self.made.folder / WORK
        work.mkdir(parents=True, exist_ok=True)
        keep(made.counted, work, made.settings, made.target)
        trained, seconds = self._train(network, work, reporter)
        found = self._judge(trained, reporter)
        looks = [json.loads(line) for line in (work / METRICS).read_text("utf-8").splitlines()]
        about = self._about(found, looks)
        from geoseg.models.training.finish import finish  # noqa: PLC0415 (torch)

        package = work / made.target.name
        card = finish(self.card, trained, package, about=about)
        record = {
            "fingerprint": key,
            "geoseg": geoseg.__version__,
            "model": made.target.name,
            "workflow": made.workflow.canonical(),
            "data": describe_data(made),
            "labels": about["labels_content_hash"],
            "split": describe_split(made)["summary"],
            "scores": {name: part.as_dict(card) for name, part in found.items()},
            "temperature": about.get("temperature", 1.0),
            "steps": looks[-1]["step"],
            "best_step": about["training"]["best_step"],
            "seconds": seconds,
            "reach": card.reach,
            "parameters": card.about.get("parameters"),
        }
        self._publish(card, found, looks, record, package)
        return record

    def _train(self, network: Any, work: Path, reporter: Reporter) -> tuple[Any, float]:
        from geoseg.models.training.loop import train  # noqa: PLC0415 (torch)

        asked, stop = self.made.workflow.training, Stop()
        threads = asked.threads

        def tell() -> None:
            reporter.message("stopping after this step (once more to stop at once)")

        with stop_on_signals(stop, tell) as request:
            watching = Watching(reporter, self.settings.steps, stop, request)
            trained = train(
                self.card,
                network,
                self.made.chips(),
                held_out=self.made.held_out(VALIDATION, most=LOOK),
                settings=self.settings,
                folder=work,
                unlabelled=self.made.without_labels(),
                data=self.made.key,
                device=asked.device,
                threads=threads,
                watcher=watching,
            )
        lines = (work / METRICS).read_text("utf-8").splitlines()
        return trained, json.loads(lines[-1])["seconds"]

    def _judge(self, network: Any, reporter: Reporter) -> dict[str, PartScores]:
        """Scores by part, with the confidence calibrated on validation ground."""
        from geoseg.models.training.judge import fit_temperature, judge  # noqa: PLC0415 (torch)

        asked = self.made.workflow.training
        where: Any = {"device": asked.device, "threads": asked.threads}
        temperature, found = 1.0, {}
        validation = self.made.held_out(VALIDATION)
        if validation is not None:
            reporter.message("calibrating confidence on validation ground")
            temperature = fit_temperature(self.card, network, validation, **where)
        for part in (VALIDATION, TEST):
            sets = self.made.held_out_of(part)
            if sets:
                reporter.message(f"judging by {PARTS[part]} ground")
                found[PARTS[part]] = PartScores(
                    {
                        name: judge(self.card, network, held, temperature=temperature, **where)
                        for name, held in sets.items()
                    },
                    temperature,
                )
        return found

    def _about(
        self, found: Mapping[str, PartScores], looks: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """What the card says for people and catalogs."""
        made, asked = self.made, self.made.workflow
        scored = [look for look in looks if look["held_out"] is not None]
        best = max(scored, key=lambda look: look["held_out"]["mean_iou"], default=looks[-1])
        about: dict[str, Any] = {
            "training_data": describe_data(made),
            "labels_content_hash": label_hash(made),
            "split": describe_split(made)["summary"],
            "held_out": {
                name: {**part.summary(self.card), **({"sets": sets} if sets else {})}
                for name, part in found.items()
                for sets in [part.by_set(self.card)]
            },
            "training": {
                "steps": looks[-1]["step"],
                "best_step": best["step"],
                "batch": self.settings.batch,
                "chip": asked.sampling.size,
                "seed": self.settings.seed,
                "seconds": looks[-1]["seconds"],
                "geoseg": geoseg.__version__,
                **({} if asked.model.start is None else {"started_from": asked.model.start}),
            },
        }
        if "validation" in found:
            about["temperature"] = found["validation"].temperature
        judged = found.get("test") or found.get("validation")
        if judged is not None:
            about["calibration"] = {
                "on": "test" if "test" in found else "validation",
                "error_before": judged.before,
                "error_after": judged.after,
            }
        kinds = {b.dtype for s in made.scenes for b in s.scene.bands.values()}
        if made.target.units == "dn" and len(kinds) == 1:
            about["dtype"] = kinds.pop()
        return about

    def _publish(
        self,
        card: ModelCard,
        found: Mapping[str, PartScores],
        looks: list[dict[str, Any]],
        record: Mapping[str, Any],
        package: Path,
    ) -> None:
        """Put everything into the output folder; the card comes when its weights are there."""
        folder, work = self.made.folder, self.made.folder / WORK
        division = describe_split(self.made)
        _write_json(package / SPLIT, division)
        shutil.copyfile(work / METRICS, package / METRICS)
        if self.made.workflow.output.report:
            tables = {name: part.confusion.counts for name, part in found.items()}
            sure = {name: part.calibrations for name, part in found.items()}
            about, doubtful = dict.fromkeys(("title", "description", "license")), doubts(self.made)
            told = ReportData(
                {**about, **card.about},
                card.legend,
                record,
                tables,
                sure,
                looks,
                division,
                doubtful,
            )
            write_report(package, told)
        try:
            # Without its card there is no package: never new weights with an old card.
            (folder / RECORD).unlink(missing_ok=True)
            (folder / CARD).unlink(missing_ok=True)
            for file in sorted(package.iterdir(), key=lambda f: f.name == CARD):
                os.replace(file, folder / file.name)  # noqa: PTH105 - Path.replace says less
            package.rmdir()
        except OSError as error:
            raise ProductError(f"{folder}: cannot be written: {error.strerror or error}") from error
        _write_json(folder / RECORD, record)


def _record(folder: Path) -> dict[str, Any] | None:
    """Of a training that has ended here, with its package."""
    if not (folder / CARD).is_file():
        return None
    try:
        said = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    write_bytes(path, f"{text}\n".encode())


def _tidy(folder: Path, *, keep_counts: bool) -> None:
    """Remove what was only needed to go on."""
    for path in (folder / WORK).iterdir() if (folder / WORK).is_dir() else ():
        if keep_counts and path.name.startswith("counts-"):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
