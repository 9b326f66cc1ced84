"""Reading and writing configuration files."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from reenact.runtime.errors import UserError
from reenact.settings.base import Section
from reenact.settings.workflow import Config

HEADER = """\
# Settings of reenact. Comments, names and ranges come from the schema in reenact/settings/;
# `make config` writes this file anew with the values that it has. Every key may be left out: see the defaults.
# yaml-language-server: $schema=docs/config.schema.json
"""


def repeated_keys(paths: Iterable[Path]) -> list[str]:
    """Keys that stand twice in one mapping of a YAML file, which YAML would settle by silently taking the last.

    Returns:
        One line for each.

    Raises:
        UserError: a file is not YAML.
    """
    found = []
    for path in paths:
        try:
            root = yaml.compose(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"{path}: cannot be read as YAML ({error})") from None
        found += [f"{key}: stands twice in {path}; names must differ" for key in _repeated(root, "")]
    return found


def _repeated(node: yaml.Node | None, prefix: str) -> list[str]:
    if not isinstance(node, yaml.MappingNode):
        return []
    found, seen = [], set()
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if name in seen:
            found.append(name)
        seen.add(name)
        found += _repeated(value, f"{name}.")
    return found


def schema_text() -> str:
    """JSON schema of the configuration, for editors."""
    return json.dumps(Config.model_json_schema(), indent=1) + "\n"


def config_text(config: Config) -> str:
    """The commented YAML text of a configuration: all keys, their meaning, default and range."""
    blocks = [HEADER]
    for name, field in Config.model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Section):
            blocks.append(_comment(value.__doc__, "") + f"{name}:\n" + "".join(_lines(value, "  ")))
        else:
            blocks.append(_comment(field.description, "") + _entry(name, value, ""))
    return "\n".join(blocks)


def _lines(section: Section, indent: str) -> list[str]:
    lines = []
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            lines.append(_comment(field.description, indent) + f"{indent}{name}:\n")
            lines += _lines(value, indent + "  ")
        else:
            default = field.get_default(call_default_factory=True)
            same = "" if value == default or isinstance(value, dict) else f" Default: {_flow(default)}."
            lines.append(_comment((field.description or "") + same, indent) + _entry(name, value, indent))
    return lines


def _entry(name: str, value: Any, indent: str) -> str:
    """One key; mappings of named things get a line each."""
    if not isinstance(value, dict) or not value:
        return f"{indent}{name}: {_flow(value)}\n"
    return f"{indent}{name}:\n" + "".join(f"{indent}  {key}: {_flow(item)}\n" for key, item in value.items())


def _flow(value: Any) -> str:
    plain = value.model_dump(mode="json", exclude_defaults=True) if isinstance(value, Section) else value
    plain = [list(v) if isinstance(v, tuple) else v for v in plain] if isinstance(plain, list) else plain
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(text: str | None, indent: str) -> str:
    first = " ".join((text or "").split())
    return f"{indent}# {first}\n" if first else ""
