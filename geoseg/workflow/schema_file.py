"""The JSON Schema of workflows, for editors."""

from __future__ import annotations

import json
from typing import Any

from geoseg.workflow.described import describe
from geoseg.workflow.schema import Workflow
from geoseg.workflow.training import TrainingWorkflow
from geoseg.workflow.whole import Whole

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCE = {"$ref": "#/$defs/FromEnvironment"}
_FROM_ENVIRONMENT = {
    "title": "From the environment",
    "description": "A variable of the environment, with a default or without.",
    "type": "string",
    "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
    "examples": ["${NAME}", "${NAME:-default}"],
}
# Words about a value, as opposed to rules for it.
_ABOUT = ("title", "description", "default", "examples")


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a workflow file as it is written.

    Editors see the text before ``extends`` and ``${NAME}`` are followed: a reference may stand
    for any value, and only files without a base must be complete.
    """
    return _whole(Workflow, "geoseg workflow", _required_below())


def training_json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a workflow file that trains a model, as it is written."""
    return _whole(TrainingWorkflow, "geoseg training workflow", {})


def _whole(kind: type[Whole], title: str, below: dict[str, Any]) -> dict[str, Any]:
    schema = kind.model_json_schema(by_alias=True, mode="validation")
    describe(schema, kind)
    definitions = {
        name: _section(_tidy(section)) for name, section in schema.pop("$defs", {}).items()
    }
    required = schema.pop("required")
    whole = _section(_tidy(schema))
    complete = {"required": required, **({"properties": below} if below else {})}
    return {
        "$schema": _DIALECT,
        **whole,
        "title": title,
        "required": ["geoseg"],
        "if": {"not": {"required": ["extends"]}},
        "then": complete,
        "$defs": {**definitions, "FromEnvironment": _FROM_ENVIRONMENT},
    }


def training_schema_text() -> str:
    """The schema as it lies in ``geoseg.train.schema.json``."""
    return _text(training_json_schema())


def schema_text() -> str:
    """The schema as it lies in ``geoseg.schema.json``."""
    return _text(json_schema())


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _required_below() -> dict[str, Any]:
    """What sections need in a file that has no base to take it from."""
    mask = {"properties": {"mask": {"required": ["method"]}}}
    stac = {
        "if": {"properties": {"kind": {"const": "stac"}}, "required": ["kind"]},
        "then": {"required": ["catalog"]},
    }
    return {
        "input": {"required": ["kind"], "allOf": [mask, stac]},
        "output": {"required": ["directory"]},
    }


def _section(schema: dict[str, Any]) -> dict[str, Any]:
    """A section whose values may all be references, and whose keys may come from a base."""
    schema.pop("required", None)
    properties = schema.get("properties", {})
    # The kind decides between sections: a reference there would leave editors in the dark.
    fixed = {"kind", "geoseg", "step"}
    schema["properties"] = {
        key: value if key in fixed else _or_reference(value) for key, value in properties.items()
    }
    return schema


def _or_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """``schema``, or ``${NAME}``; entries of lists and values of keys too."""
    about = {word: schema[word] for word in _ABOUT if word in schema}
    rules = {word: rule for word, rule in schema.items() if word not in _ABOUT}
    ways = [_entries(way) for way in rules.pop("anyOf", [])] or [_entries(rules)]
    if not any(_takes_any_text(way) for way in ways):
        ways.append(dict(_REFERENCE))
    return {**about, **(ways[0] if len(ways) == 1 else {"anyOf": ways})}


def _entries(schema: dict[str, Any]) -> dict[str, Any]:
    """Let the parts of a list, or of free keys, be references."""
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            schema[word] = _or_reference(schema[word])
    if "prefixItems" in schema:
        schema["prefixItems"] = [_or_reference(item) for item in schema["prefixItems"]]
    if "anyOf" in schema:
        schema["anyOf"] = [_entries(way) for way in schema["anyOf"]]
    return schema


def _takes_any_text(schema: dict[str, Any]) -> bool:
    rules = {word for word in schema if word not in _ABOUT}
    return schema.get("type") == "string" and rules <= {"type", "minLength"}


def _tidy(schema: Any) -> Any:
    """Without oneOf (a reference can fit two ways), and the same from any pydantic."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if isinstance(schema, float) and schema.is_integer():
        return int(schema)
    if not isinstance(schema, dict):
        return schema
    tidy = {("anyOf" if key == "oneOf" else key): _tidy(value) for key, value in schema.items()}
    if len(only := tidy.get("allOf", [])) == 1:
        tidy = {**tidy, **only[0]}
        del tidy["allOf"]
    if "const" in tidy:
        tidy.pop("enum", None)
    if "description" in tidy and isinstance(tidy["description"], str):
        tidy["description"] = " ".join(tidy["description"].replace("``", "`").split())
    return tidy
