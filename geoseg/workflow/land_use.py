"""What a workflow wants of land use over time: periods, rule, units, accounts."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PlainValidator, model_validator
from pydantic.json_schema import WithJsonSchema

from geoseg.workflow.faults import UnfitError, show
from geoseg.workflow.fields import Distinct, FilePath, Text
from geoseg.workflow.section import Section

ANY = "*"
"""All other classes, in a change of classes."""

Share = Annotated[float, Field(gt=0, lt=1, strict=False)]


def _changes(value: object) -> dict[str, float]:
    advice = "expected changes and their probabilities, like {Built area > Trees: 0}"
    if not isinstance(value, dict):
        raise UnfitError(advice, show(value))
    found = {}
    for change, probability in value.items():
        if not isinstance(change, str) or len(split_change(change)) != 2:
            raise UnfitError(advice, show(change))
        number = isinstance(probability, int | float) and not isinstance(probability, bool)
        if not number or not 0 <= probability < 1:
            raise UnfitError("expected a probability from 0 to less than 1", show(probability))
        found[change] = float(probability)
    return found


def split_change(change: str) -> list[str]:
    """``A > B`` as its two classes; something else has not two parts."""
    parts = [part.strip() for part in change.split(">")]
    return parts if all(parts) else []


Changes = Annotated[
    dict[str, float],
    PlainValidator(_changes),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
            "examples": [{"Built area > *": 0}],
        }
    ),
]


class LandUse(Section):
    """How maps of periods and their tables are made."""

    by: Literal["year", "quarter", "month"] = "year"
    """The periods that get a map each."""
    rule: Literal["median", "hmm"] = "median"
    """median takes the median of the probabilities of a period; hmm decides all periods together,
    by how likely classes follow each other (a hidden Markov model over those medians)."""
    stay: Share = 0.9
    """Probability that a class stays what it is from one period to the next (hmm)."""
    changes: Changes = Field(default_factory=dict)
    """Probabilities of single changes, 0 for those that cannot be; * is all other classes (hmm)."""
    trust: Share = 0.95
    """How far the probabilities of a single period are believed (hmm)."""
    independence: Annotated[float, Field(ge=0, le=1, strict=False)] = 0.5
    """How much each further date of a period counts beside its first: 0 where all err alike, 1
    where errors have nothing to do with each other (hmm)."""
    fill: bool = True
    """Give pixels that a period did not see what their other periods say (hmm)."""
    assumed: Annotated[int, Field(ge=1, le=100)] = 70
    """Confidence of maps that do not say how sure they are, in percent."""
    legend: Text | None = None
    """Classes of maps that do not name them: a known legend, or codes: '1=Crops,2=Forest'."""
    zones: FilePath | None = None
    """A file of polygons, areas are counted in each of them; all together without it."""
    zone_name: Text | None = None
    """The column of that file with their names."""

    @model_validator(mode="after")
    def _only_for_hmm(self) -> Self:
        if self.rule != "hmm" and self.changes:
            raise UnfitError("only used with rule: hmm", at=("changes",))
        if self.zone_name is not None and self.zones is None:
            raise UnfitError("only used with zones", at=("zone_name",))
        return self


class LandUseOfRun(LandUse):
    """Maps of periods that are made after the scenes are mapped, of all maps there are."""

    directory: FilePath
    """Folder of the products."""
    maps: Distinct[FilePath] = ()
    """Patterns of further maps, those of earlier runs: 'products/*'."""
