"""The JSON schema of a component's YAML, so that its validator points at the field that is wrong.

Pydantic writes a block that may also be a `{{ template }}` as `anyOf`, and a choice of blocks as
`oneOf`; a validator then only says that the whole block fits none of them. Written as `if`/`then`,
the one block that was meant is checked, and its fault is reported where it stands. A word out of
few would pass whatever it is, for any text may be a template; only what looks like one does.
"""

from typing import Any

Schema = dict[str, Any]
_TEMPLATE = {"type": ["string", "null"]}
_FILLED_IN = {"type": "string", "pattern": r"\{\{"}


def pointed(schema: Schema, descriptions: dict[str, str]) -> Schema:
    """The same schema, with every block among its properties checked as the kind it says it is.

    `descriptions` are those of the properties, by name.
    """
    properties = {
        name: {**_property(value, schema.get("$defs", {})), "description": descriptions[name]}
        for name, value in schema["properties"].items()
    }
    return {**schema, "properties": properties}


def _property(schema: Schema, kinds: dict[str, Schema]) -> Schema:
    block = next((_block(choice) for choice in schema.get("anyOf", ()) if _block(choice)), None)
    if block is None:
        return schema
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    if "enum" in kinds.get(block.get("$ref", "").rpartition("/")[-1], {}):
        others.pop("default", None)  # Dagster's stand-in for what it cannot write as JSON
        return {**others, "if": _FILLED_IN, "else": block}
    return {**others, "if": {"type": "object"}, "then": block, "else": _TEMPLATE}


def _block(choice: Schema) -> Schema | None:
    """The schema of a mapping, or None for any other choice."""
    if "discriminator" in choice:
        return _by_kind(choice["discriminator"])
    return choice if "$ref" in choice else None


def _by_kind(discriminator: Schema) -> Schema:
    name, kinds = discriminator["propertyName"], discriminator["mapping"]
    return {
        "properties": {name: {"enum": list(kinds)}},
        "required": [name],
        "allOf": [
            {
                "if": {"properties": {name: {"const": kind}}, "required": [name]},
                "then": {"$ref": reference},
            }
            for kind, reference in kinds.items()
        ],
    }
