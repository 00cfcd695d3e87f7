"""The JSON schema of a component's YAML, written so that errors name the invalid field.

Pydantic writes a block that may also be a `{{ template }}` as `anyOf`, and a choice of blocks as
`oneOf`; a validator then only says that the whole block matches none of them. With `if`/`then`, it
checks the block of the given type and reports the error at the field. An enum would accept any
text, because any text may be a template; here only text that contains `{{` counts as a template.
"""

from typing import Any

Schema = dict[str, Any]
_TEMPLATE = {"type": ["string", "null"]}
_NUMERIC = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")
_FILLED_IN = {"type": "string", "pattern": r"\{\{"}


def pointed(schema: Schema, declared: Schema, descriptions: dict[str, str]) -> Schema:
    """The same schema, with each block validated as its declared type.

    Limits are those of `declared`, the schema of the settings themselves, which Dagster drops.
    `declared` and `descriptions` are by property name.
    """
    properties = {
        name: {
            **_property(_unlimited(value), schema.get("$defs", {})),
            **_limits(declared.get(name, {})),
            "description": descriptions[name],
        }
        for name, value in schema["properties"].items()
    }
    return {**schema, "properties": properties}


def _limits(declared: Schema) -> Schema:
    """What restricts a value, whichever alternative of `anyOf` it is for.

    JSON Schema applies limits only to numbers and patterns only to texts, so `null` passes.
    """
    found: Schema = {}
    for one in (declared, *declared.get("anyOf", ())):
        found |= {key: one[key] for key in _NUMERIC if key in one}
        if "pattern" in one:
            found["pattern"] = rf"\{{\{{|{one['pattern']}"  # or a {{ template }}
    return found


def _unlimited(schema: Schema) -> Schema:
    """Without the patterns of the alternatives, which would refuse a template."""
    choices = [
        {key: value for key, value in choice.items() if key != "pattern"}
        for choice in schema.get("anyOf", ())
    ]
    return {**schema, "anyOf": choices} if choices else schema


def _property(schema: Schema, kinds: dict[str, Schema]) -> Schema:
    block = next((_block(choice) for choice in schema.get("anyOf", ()) if _block(choice)), None)
    if block is None:
        return schema
    others = {key: value for key, value in schema.items() if key != "anyOf"}
    if "enum" in kinds.get(block.get("$ref", "").rpartition("/")[-1], {}):
        others.pop("default", None)  # Dagster's placeholder for a value that JSON cannot express
        return {**others, "if": _FILLED_IN, "else": block}
    return {**others, "if": {"type": "object"}, "then": block, "else": _TEMPLATE}


def _block(choice: Schema) -> Schema | None:
    """The schema of a mapping, or of a mapping of them by name, or None for any other choice."""
    if "discriminator" in choice:
        return _by_kind(choice["discriminator"])
    several = choice.get("additionalProperties")
    return choice if "$ref" in choice or (several and "$ref" in several) else None


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
