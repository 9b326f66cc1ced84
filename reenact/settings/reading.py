"""Validating settings, with errors that a person can act on."""

import difflib
import typing
from typing import Any, TypeVar

from pydantic import ValidationError

from reenact.runtime.errors import UserError
from reenact.settings.base import Section

SectionType = TypeVar("SectionType", bound=Section)


def read(model: type[SectionType], values: dict[str, Any], source: str) -> SectionType:
    """Validate `values` as `model`.

    Args:
        model: the section's class.
        values: plain settings as read from YAML.
        source: what to name in the error, e.g. the file.

    Raises:
        UserError: one line for every mistake: the key, the value, what is allowed, and the likely typo.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(report(source, explain(model, error))) from None


def report(source: str, problems: list[str]) -> str:
    """All problems of one settings file as one message."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return "\n".join([f"{count} in {source}:"] + [f"  - {problem}" for problem in problems])


def explain(model: type[Section], error: ValidationError) -> list[str]:
    """One line a mistake, in words rather than in pydantic's terms."""
    return [_explain_one(model, detail) for detail in error.errors()]


def _explain_one(model: type[Section], detail: Any) -> str:
    path = [part for part in detail["loc"] if part not in ("str", "int", "float", "function-after", "[key]")]
    key = ".".join(str(part) for part in path)
    if detail["type"] == "extra_forbidden":
        return _explain_unknown(model, path, key)
    if detail["type"] == "missing":
        return f"{key}: missing; it has no default"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    return f"{key}: {detail['input']!r} {message}" if key else message


def _explain_unknown(model: type[Section], path: list[Any], key: str) -> str:
    owner = _owner(model, path[:-1])
    if owner and path[-1] in owner.former:
        return f"{key} {owner.former[path[-1]]}"
    known = sorted(owner.model_fields) if owner else []
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known)}"
    return f"{key}: unknown key; {hint}"


def _owner(model: type[Section], path: list[Any]) -> type[Section] | None:
    """The section class that the keys in `path` lead to, through dictionaries and optional fields."""
    for part in path:
        if part not in model.model_fields:
            continue  # the name of an identity, a driver or a file: a key of a dictionary
        inner = [
            t for t in _types(model.model_fields[part].annotation) if isinstance(t, type) and issubclass(t, Section)
        ]
        if not inner:
            return None
        model = inner[0]
    return model


def _types(annotation: Any) -> list[Any]:
    arguments = typing.get_args(annotation)
    return [annotation] if not arguments else [t for a in arguments for t in _types(a)]
