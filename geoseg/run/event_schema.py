"""What a line of events.jsonl, or of --log-json, holds: the schema that both are written by."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

Seconds = Annotated[float, Field(ge=0, description="seconds")]
Count = Annotated[int, Field(ge=0)]
Lanes = Annotated[
    dict[str, Seconds],
    Field(description="seconds by what took them: read, wait (for the model), infer, write, ..."),
]
State = Literal["done", "failed", "stopped"]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    time: str = Field(description="when it was noted by the client, ISO 8601, UTC")


class _OfRun(_Line):
    run: str = Field(description="tells one run from another; the same in all of its events")


class _OfScene(_OfRun):
    scene: str = Field(description="id of the scene")


class _OfStage(_OfScene):
    stage: str = Field(description="segment, refine, trace, products, ...")


class RunStarted(_OfRun):
    """A run begins to do something."""

    event: Literal["run_started"]
    workflow: str
    geoseg: str = Field(description="version")
    host: str
    pid: int
    scenes: Count
    blocks: Count


class RunEnded(_OfRun):
    """A run has ended; not there where its process died."""

    event: Literal["run_ended"]
    state: State
    seconds: Seconds
    made: Count | None = Field(None, description="scenes whose products were made")
    failed: Count | None = Field(None, description="scenes that failed")
    error: str | None = None


class SceneStarted(_OfScene):
    """There is something to do for a scene."""

    event: Literal["scene_started"]
    blocks: Count
    height: Count
    width: Count
    memory_planned: Count = Field(description="bytes that a worker was planned to take")


class SceneEnded(_OfScene):
    """A scene's products are made, or not."""

    event: Literal["scene_ended"]
    state: State
    seconds: Seconds | None = None
    failed_blocks: Count | None = None
    error: str | None = None


class StageStarted(_OfStage):
    """A stage of a scene begins; ``resumed`` of its blocks were done before."""

    event: Literal["stage_started"]
    blocks: Count
    pixels: Count
    resumed: Count


class StageEnded(_OfStage):
    """A stage has ended; blocks are counted where it has any."""

    event: Literal["stage_ended"]
    state: State
    seconds: Seconds
    done: Count | None = None
    resumed: Count | None = None
    failed: Count | None = None
    lanes: Lanes | None = None


class Block(_OfStage):
    """A block is done, or has failed for good."""

    event: Literal["block"]
    block: Annotated[list[Count], Field(min_length=4, max_length=4)] = Field(
        description="y0, x0, y1, x1 in pixels of the scene; ends are excluded"
    )
    state: Literal["done", "failed"]
    began: str | None = Field(
        None, description="of the last try, ISO 8601, by the worker's clock; none where it died"
    )
    seconds: Seconds | None = Field(None, description="the last try took so long on the worker")
    tries: Annotated[int, Field(ge=1)] | None = None
    worker: str | None = Field(None, description="address; none in the client's own process")
    lanes: Lanes | None = None
    received_bytes: Count | None = Field(None, description="what servers sent of the scene")
    memory_bytes: Count | None = Field(None, description="most memory of the process so far")
    error: str | None = None


class Product(_OfScene):
    """A product is finished."""

    event: Literal["product"]
    role: str
    file: str = Field(description="name in the output folder")
    bytes: Count | None = Field(None, description="none of a folder")


class Message(_Line):
    """Something worth a line."""

    event: Literal["message"]
    run: str | None = None
    scene: str | None = None
    text: str


class Warned(_Line):
    """Something that somebody should look at."""

    event: Literal["warning"]
    run: str | None = None
    scene: str | None = None
    text: str


class Lost(_OfRun):
    """So many events could not be written before this one."""

    event: Literal["lost"]
    lines: Count


class Started(_Line):
    """Progress (--log-json only): work begins."""

    event: Literal["started"]
    scenes: Count
    blocks: Count
    dashboard: str | None


class Progress(_Line):
    """Progress (--log-json only): how far a stage is; of units that are no blocks, too."""

    model_config = ConfigDict(extra="allow")

    event: Literal["stage", "advance"]
    stage: str


class Done(_Line):
    """Progress (--log-json only): the last line."""

    event: Literal["done"]
    text: str


EventLine = Annotated[
    RunStarted | RunEnded | SceneStarted | SceneEnded | StageStarted | StageEnded | Block | Product
    | Message | Warned | Lost | Started | Progress | Done,
    Field(discriminator="event"),
]  # fmt: skip


def event_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of one line."""
    schema = TypeAdapter(EventLine).json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "geoseg event",
        "description": "One line of events.jsonl, or of --log-json.",
        **schema,
    }


def event_schema_text() -> str:
    """The same as text, as it is kept in ``geoseg.events.schema.json``."""
    return json.dumps(event_schema(), indent=2) + "\n"
