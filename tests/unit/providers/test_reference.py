"""docs/providers.md lists every field of a definition, with the very words of the code."""

from __future__ import annotations

import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from antechamber.providers import definition

DOCS = Path(__file__).parents[3] / "docs" / "providers.md"


def tables(model, seen=None):
    seen = {} if seen is None else seen
    if model not in seen:
        seen[model] = None
        for field in model.model_fields.values():
            for inner in models_in(field.annotation):
                tables(inner, seen)
    return list(seen)


def models_in(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in models_in(part)]


def rows(model):
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default!r}`"
        yield f"| `{field.alias or name}` | {default} | {field.description} |".replace("`None`", "none")


@pytest.mark.parametrize("model", tables(definition.Definition), ids=lambda model: model.__name__)
def test_every_field_is_in_the_reference(model):
    text = DOCS.read_text()
    missing = [row for row in rows(model) if row not in text]
    assert not missing, "put these rows into docs/providers.md:\n" + "\n".join(missing)
