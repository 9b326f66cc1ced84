"""The reference of all settings: docs/settings.md for people, a JSON schema for editors."""

import json
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic_core import PydanticUndefined

from reenact.settings.base import Section
from reenact.settings.origin import Setting, find, says, settings_of
from reenact.settings.workflow import Config, DriverSettings, IdentitySettings

INTRODUCTION = """\
# Settings

All keys of `config.yaml`. Every key may be left out, apart from `identities` and `drivers`. A value is set by the last
of these that has the key: the default, the preset of the section, the checkpoint that a training continues, the
settings file, the command line. `python -m workflow_scripts.STAGE --print-settings --settings config.yaml` prints every
value of a stage and where it comes from; `--help` lists its flags.

This page is made by `make config` from the schema in `reenact/settings/`.
"""
KINDS = {
    "boolean": "true, false",
    "integer": "whole number",
    "null": "null",
    "number": "number",
    "object": "mapping",
    "string": "text",
}
CLIPS: dict[str, type[Section]] = {"identities": IdentitySettings, "drivers": DriverSettings}


def schema_text() -> str:
    """JSON schema of the configuration, for editors."""
    return json.dumps(Config.model_json_schema(), indent=1) + "\n"


def reference_text() -> str:
    """Every setting in Markdown: its default, what the presets of its section say, what is allowed, what it means."""
    blocks = [INTRODUCTION]
    for setting in _own_settings(Config):
        blocks.append(
            f"## {setting.name}\n\n{_meaning(setting)} Default: `{_yaml(setting.default)}`; {_allowed(setting)}.\n"
        )
    for name, section in CLIPS.items():
        blocks.append(_section(name, Config.model_fields[name].description, section, f"{name}.NAME."))
    for name, field in Config.model_fields.items():
        if isinstance(field.default, Section):
            blocks.append(_section(name, type(field.default).__doc__, type(field.default), f"{name}."))
    return "\n".join(blocks)


def _own_settings(section: type[Section]) -> Iterator[Setting]:
    """Settings that stand in no section of their own."""
    yield from (s for s in settings_of(section) if len(s.path) == 1 and s.name not in CLIPS)


def _section(name: str, description: str | None, section: type[Section], prefix: str) -> str:
    presets = section.presets if section.chooser == "preset" else {}
    columns = ["setting", "default", *(f"preset {chosen}" for chosen in presets), "allowed", "meaning"]
    lines = [f"## {name}\n", " ".join((description or "").split()) + "\n", _row(columns), _row(["---"] * len(columns))]
    for setting in settings_of(section):
        chosen = [
            f"`{_yaml(find(values, setting.path))}`" if says(values, setting.path) else ""
            for values in presets.values()
        ]
        lines.append(
            _row([f"`{prefix}{setting.name}`", _default(setting), *chosen, _allowed(setting), _meaning(setting)])
        )
    return "\n".join(lines) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _meaning(setting: Setting) -> str:
    return " ".join(setting.description.split()).replace("<", "&lt;")


def _default(setting: Setting) -> str:
    if setting.default is PydanticUndefined:
        return "none, must be given"
    if isinstance(setting.default, dict):
        return ", ".join(f"`{name}`" for name in setting.default)
    return f"`{_yaml(setting.default)}`"


def _yaml(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _allowed(setting: Setting) -> str:
    """What values a setting takes, in words."""
    schema = setting.owner.model_json_schema()["properties"][setting.path[-1]]
    return ", or ".join(dict.fromkeys(words for kind in schema.get("anyOf", [schema]) for words in _words(kind)))


def _words(kind: dict[str, Any]) -> Iterator[str]:
    """What one kind of a JSON schema allows, in words."""
    if "enum" in kind or "const" in kind:
        yield ", ".join(f"`{value}`" for value in kind.get("enum", [kind.get("const")]))
        return
    for name in kind["type"] if isinstance(kind["type"], list) else [kind["type"]]:
        if name == "array":
            items = kind.get("items", {})
            yield f"list of {', '.join(_words(items))}" if items.get("type") in ("string", "integer") else "list"
        else:
            yield f"{KINDS[name]}{_range(kind)}"


def _range(kind: dict[str, Any]) -> str:
    low = kind.get("minimum", kind.get("exclusiveMinimum"))
    high = kind.get("maximum", kind.get("exclusiveMaximum"))
    words = [f"{'at least' if 'minimum' in kind else 'above'} {low:g}"] if low is not None else []
    words += [f"{'at most' if 'maximum' in kind else 'below'} {high:g}"] if high is not None else []
    return f" {', '.join(words)}" if words else ""
